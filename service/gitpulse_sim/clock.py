"""The instance's clock: the wall's, shifted or stopped on request.

Everything GitLab remembers is told by it: backoffs, limits, retention, token expiry. Only the `webhook-timestamp` of
a delivery is not, because the receiver at the other end lives in real time (see `deliver`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Runs with the wall until told otherwise. All times are aware and in UTC."""

    def __init__(self, stopped_at: datetime | None = None) -> None:
        self._shift = timedelta()
        self._stopped = stopped_at

    def now(self) -> datetime:
        return self._stopped or datetime.now(UTC) + self._shift

    def stop_at(self, at: datetime) -> None:
        """Stands still at this time until it is moved."""
        self._stopped = at.astimezone(UTC)

    def advance(self, seconds: float) -> datetime:
        """Moves on (or back) by so much, standing or running. Returns the new time."""
        if self._stopped:
            self._stopped += timedelta(seconds=seconds)
        else:
            self._shift += timedelta(seconds=seconds)
        return self.now()

    def follow_wall(self) -> None:
        """Is the wall clock again."""
        self._shift, self._stopped = timedelta(), None
