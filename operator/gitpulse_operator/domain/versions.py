"""GitLab's version, as far as it matters."""

from __future__ import annotations

import re


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of a version such as `19.1.2-ee`; (0, 0) if it is none."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
