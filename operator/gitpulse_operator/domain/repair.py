"""Filling the gap that a failing hook has left: what GitLab's log has as failed is sent again, oldest first.

Log rows are numbered by GitLab over all hooks, and their numbers grow: one number says how far a repair has come, and
where the next one begins. What was never sent, because the hook was off, is in no log and is not repaired here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from gitpulse_operator.domain.conditions import timestamp
from gitpulse_operator.domain.delivery import Log, Logged

RESENDS_SINCE = (17, 4)
"""The version from which GitLab sends a delivery again when asked."""
FAILED_ONES = "client_failure,server_failure"
MOST = 500
"""Rows of one repair, the newest; 100 minutes at GitLab's five a minute."""


@dataclass(frozen=True, slots=True)
class Repair:
    """How far one has come."""

    through: int = 0
    """The newest log row that was dealt with."""
    last: int = 0
    """The newest one to deal with."""
    began: str | None = None
    """When the first of the deliveries that failed was sent, and the last; None: GitLab does not say (before 19.0)."""
    ended: str | None = None
    resent: int = 0
    lost: int = 0

    @property
    def running(self) -> bool:
        return self.through < self.last

    def next(self, log: Log) -> Self | None:
        """The repair of what has failed since; None if nothing has."""
        rows = self.rest(log, everything=True)
        if not rows:
            return None
        times = [row.at for row in rows if row.at]
        return replace(
            self,
            last=rows[-1].id,
            began=timestamp(min(times)) if times else None,
            ended=timestamp(max(times)) if times else None,
            resent=0,
            lost=0,
        )

    def rest(self, log: Log, *, everything: bool = False) -> list[Logged]:
        """What is still to be sent again, oldest first."""
        rows = [row for row in log.rows if row.failed and self.through < row.id and (everything or row.id <= self.last)]
        return sorted(rows, key=lambda row: row.id)

    def past(self, row: Logged, *, resent: bool) -> Self:
        """The repair once this row is dealt with."""
        return replace(self, through=row.id, resent=self.resent + resent, lost=self.lost + (not resent))

    def closed(self) -> Self:
        """Nothing of it is left in the log."""
        return replace(self, through=self.last)

    def to_status(self) -> dict[str, object]:
        window = {"from": self.began, "to": self.ended}
        return {
            "phase": "Running" if self.running else "Done",
            **{name: time for name, time in window.items() if time},
            "resent": self.resent,
            "lost": self.lost,
            "through": self.through,
            "last": self.last,
        }

    @classmethod
    def from_status(cls, status: Mapping[str, object]) -> Self:
        def number(name: str) -> int:
            return value if isinstance(value := status.get(name), int) else 0

        def time(name: str) -> str | None:
            return value if isinstance(value := status.get(name), str) else None

        return cls(number("through"), number("last"), time("from"), time("to"), number("resent"), number("lost"))

    def __str__(self) -> str:
        window = f" between {self.began} and {self.ended}" if self.began else ""
        lost = f", {self.lost} could not be" if self.lost else ""
        return f"Of the deliveries that failed{window}, GitLab has sent {self.resent} again{lost}."
