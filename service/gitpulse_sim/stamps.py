"""GitLab's shapes of a timestamp (all of them are seen in deliveries)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

Stamp = Callable[[datetime], str]


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
