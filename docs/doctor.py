"""Writes the table of docs/doctor.md from the doctor's catalogue of causes.

A test fails when the page is not what this prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from gitpulse_cli.doctor.causes import ALL
from gitpulse_cli.doctor.finding import Status

PAGE = Path(__file__).parent / "doctor.md"
HEADING = "## Causes and cures\n"


def table() -> Iterator[str]:
    yield f"{HEADING}\nMade from the source by `make docs`. A cause in *italics* is a warning.\n"
    yield "| cause | what is wrong | what to do | runbook |\n|---|---|---|---|"
    for cause in ALL:
        name = f"*{cause.id}*" if cause.status is Status.WARNING else cause.id
        runbook = f"[{cause.runbook}](runbooks/{cause.runbook}.md)" if cause.runbook else ""
        yield f"| {name} | {cause.says} | {cause.cure} | {runbook} |"


def page() -> str:
    """The whole page: what is written there by hand, and the table."""
    return PAGE.read_text().partition(HEADING)[0] + "\n".join(table()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stderr.write(f"wrote {PAGE.name}\n")
