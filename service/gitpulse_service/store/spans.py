"""Spans of time and how they are cut, by the clock of a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Every = Literal["day", "week", "month", "quarter", "year"]

_LONGEST: dict[Every, int] = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}
"""Days."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until just before `end`; None: without bound."""

    start: datetime | None = None
    end: datetime | None = None


def buckets(span: Span, every: Every, zone: ZoneInfo) -> list[datetime]:
    """The moments, in UTC, at which the buckets begin that hold the span, and at last the end of the last.

    Raises ValueError for a span without bounds, OverflowError beyond the years 1 to 9999.
    """
    if span.start is None or span.end is None:
        raise ValueError("only a span with both bounds can be cut into buckets")
    day = _first_day(span.start.astimezone(zone).date(), every)
    edges = [midnight(day, zone)]
    while edges[-1] < span.end:
        day = _first_day(day + timedelta(days=_LONGEST[every]), every)
        edges.append(midnight(day, zone))
    return edges


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins, in UTC; where the clock is put forward at midnight, the moment at which that is done."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def day_start(moment: datetime, zone: ZoneInfo) -> datetime:
    """When the day of that moment begins, in UTC."""
    return midnight(moment.astimezone(zone).date(), zone)


def _first_day(day: date, every: Every) -> date:
    """Of the bucket that holds the day."""
    match every:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(day=1, month=day.month - (day.month - 1) % 3)
        case "year":
            return day.replace(day=1, month=1)
    return day
