"""Time in the instance: its clock, and the shapes in which GitLab writes a time (all of them are seen in deliveries).

Everything GitLab remembers is told by the clock: backoffs, limits, retention, token expiry. Only the
`webhook-timestamp` of a delivery is not, because the receiver at the other end lives in real time (see `deliver`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

Stamp = Callable[[datetime], str]


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


def spaced(zone: tzinfo) -> Stamp:
    """`2025-08-05 21:48:25 UTC`, or with `+0100` where the instance's zone is not UTC: what real deliveries carry."""

    def stamp(at: datetime) -> str:
        local = at.astimezone(zone)
        return f"{local:%Y-%m-%d %H:%M:%S} " + ("UTC" if local.tzname() == "UTC" else f"{local:%z}")

    return stamp


def iso_milliseconds(at: datetime) -> str:
    """`2025-05-21T16:06:02.869Z`: test deliveries, and the REST API."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def iso_offset(at: datetime) -> str:
    """`2026-01-31T18:45:47+01:00`, in the time's own offset: commits, and member, subgroup and project events."""
    return at.replace(microsecond=0).isoformat()


def iso_offset_milliseconds(at: datetime) -> str:
    """`2026-01-31T18:45:47.000+01:00`: commits in the REST API."""
    return at.isoformat(timespec="milliseconds")
