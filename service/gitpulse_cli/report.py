"""What a run of the demo found: figures that must agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gitpulse_cli.output import Format, console, dump, show


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

    def show(self, output: Format) -> None:
        """Prints a table with a column a project, or `{"ok", "events", "seconds", "checks"}`; then the verdict.

        `checks` is a list of `{"name", "expected", "actual"}`.
        """
        if output is Format.TABLE:
            rows: dict[str, dict[str, object]] = {}
            for check in self.checks:
                project, _, figure = check.name.partition(": ")
                rows.setdefault(figure, {"figure": figure})[project] = _cell(check)
            show(rows.values(), output, columns=list(dict.fromkeys(name for row in rows.values() for name in row)))
        else:
            whole = {"ok": self.ok, "events": self.events, "seconds": round(self.seconds, 2)}
            dump({**whole, "checks": [asdict(check) for check in self.checks]}, output)
        rate = self.events / self.seconds if self.seconds else 0
        verdict = "[green]every number agrees" if self.ok else "[red]the numbers marked ✗ do not agree"
        text = f"{self.events} events in {self.seconds:.1f} s ({rate:.0f} a second): {verdict}[/]"
        console.print(text, markup=True)


def _cell(check: Check) -> str:
    return f"✓ {check.actual}" if check.agrees else f"✗ {check.actual}, should be {check.expected}"
