"""What a run of the demo found: figures that must agree, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Check:
    """One figure: what is true of the project, and what GitPulse counted."""

    name: str
    """`<project>: <figure>`."""
    expected: object
    actual: object

    @property
    def agrees(self) -> bool:
        return self.expected == self.actual


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a run."""

    events: int
    """Deliveries that the receiver accepted."""
    seconds: float
    """From the first event to the last number."""
    checks: list[Check]

    @property
    def ok(self) -> bool:
        return bool(self.checks) and self.events > 0 and all(check.agrees for check in self.checks)

    def as_json(self) -> str:
        """`{"ok", "events", "seconds", "checks": [{"name", "expected", "actual"}]}`."""
        whole = {"ok": self.ok, "events": self.events, "seconds": round(self.seconds, 2)}
        return json.dumps({**whole, "checks": [asdict(check) for check in self.checks]})

    def show(self, console: Console) -> None:
        """A table with a column a project, then one line that says whether all agrees."""
        projects = list(dict.fromkeys(check.name.partition(": ")[0] for check in self.checks))
        title = "What GitPulse counted, held against git log and GitLab"
        table = Table("", *projects, title=title, title_justify="left")
        rows: dict[str, dict[str, str]] = {}
        for check in self.checks:
            project, _, figure = check.name.partition(": ")
            rows.setdefault(figure, {})[project] = _cell(check)
        for figure, cells in rows.items():
            table.add_row(figure, *(cells.get(project, "") for project in projects))
        console.print(table)
        verdict = "[green]every number agrees" if self.ok else "[red]the numbers marked ✗ do not agree"
        rate = self.events / self.seconds if self.seconds else 0
        console.print(f"{self.events} events in {self.seconds:.1f} s ({rate:.0f} a second): {verdict}[/]")


def _cell(check: Check) -> str:
    if check.agrees:
        return f"[green]✓[/] {check.actual}"
    return f"[red]✗ {check.actual}, should be {check.expected}[/]"
