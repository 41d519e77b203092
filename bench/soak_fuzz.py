"""Coverage-guided fuzzing of the receiver: `n` cases, half of them requests to its endpoint, half of its pure parts.

What must hold in each case is said in `tests/harness/fuzzing.py`. A failure leaves its case in `.fuzz/`; with the
file as its last argument, that module runs it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.fuzzer import Found, fuzz

GOALS = {"failures": "== 0", "rss_growth_mib": "<= 64"}
TARGETS = ("app", "pure")
CASES = 100_000


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """100,000 cases by default."""
    folder = Path(__file__).parents[1] / ".fuzz"
    folder.mkdir(exist_ok=True)
    figures = {"cases": 0, "failures": 0, "rss_growth_mib": 0.0}
    seconds = 0.0
    for target in TARGETS:
        try:
            found = fuzz(target, (n or CASES) // len(TARGETS), folder)
        except Found as failure:
            figures["failures"] += 1
            say(f"{target}: {failure}")
            continue
        say(f"{target}: {found['cases']:,.0f} cases, {found['cases'] / found['seconds']:,.0f} a second")
        seconds += found["seconds"]
        figures["cases"] += int(found["cases"])
        figures["rss_growth_mib"] = max(figures["rss_growth_mib"], round(found["rss_growth_mib"], 1))
    return {**figures, "cases_per_s": round(figures["cases"] / seconds) if seconds else 0}
