"""What each metric means in a sentence: the first one of its definition in docs/metrics.md."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_PAGES = (Path(__file__).with_name("metrics.md"), Path(__file__).parents[3] / "docs/metrics.md")
"""Where the page is: in an installed wheel, in a clone."""


@cache
def document() -> str:
    """The page, in Markdown."""
    return next(path for path in _PAGES if path.is_file()).read_text()


@cache
def meanings() -> dict[str, str]:
    """Metric -> one sentence, or its formula where that says it all."""
    found: dict[str, str] = {}
    for titles, text in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", document(), re.MULTILINE | re.DOTALL):
        prose, _, formula = " ".join(text.split()).partition("*Formula*: ")
        sentence = prose.partition(". ")[0] or formula.partition(" *")[0]
        found |= dict.fromkeys(titles.split(", "), f"{sentence.strip().rstrip('.')}.")
    return found
