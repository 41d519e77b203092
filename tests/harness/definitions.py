"""Which metrics docs/metrics.md defines."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
METRICS = {name for line in re.findall(r"^### (.*)$", DOCUMENT, re.MULTILINE) for name in line.split(", ")}
