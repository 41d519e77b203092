"""Hours of the week: when commits are made, on the clock of whoever makes them."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from gitpulse_service.dashboard.cards import Card, Cell, Column, heat
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import board
from gitpulse_service.dashboard.view import AskPage, View, look

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

router = APIRouter()


@router.get("/hours")
async def hours(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """Of all, or those of the filters."""
    view = await look(request, viewer, asked)
    cards = {"week": partial(week, view), "shares": partial(shares, view), "by-hour": partial(by_hour, view)}
    return await board(view, "Hours of the week", cards)


async def _counts(view: View) -> dict[int, int]:
    answer = await view.series("commit_hours", group_by="label")
    return {int(row.group): row.count for row in answer.items if row.group is not None}


async def week(view: View) -> Card:
    """A row for each day, a column for each hour."""
    counts = await _counts(view)
    most = max(counts.values(), default=0)
    rows = [
        [Cell(day), *(Cell(n, view.behind("commit_hours", label=str(24 * i + hour)) if n else None, heat(n, most))
                      for hour in range(24) for n in (counts.get(24 * i + hour, 0),))]
        for i, day in enumerate(DAYS)
    ]  # fmt: skip
    columns = [Column("Day", "text"), *(Column(f"{hour}") for hour in range(24))]
    note = "Commits by the hour at which each author's own clock stood. They show habits, and measure nobody."
    return Card("Commits by hour", columns, rows if counts else [], ["commit_hours"], wide=True, note=note, heated=True)


async def shares(view: View) -> Card:
    """How much is done on working days by day, in the evening and at night, and on weekends."""
    counts = await _counts(view)
    total = sum(counts.values())
    kinds = {"Working days, 7 to 19": 0, "Working days, before 7 or after 19": 0, "Weekends": 0}
    for hour, n in counts.items():
        weekend, by_day = hour >= 5 * 24, 7 <= hour % 24 < 19
        kinds[[*kinds][2 if weekend else 0 if by_day else 1]] += n
    rows = [[Cell(name), Cell(n), Cell(n / total if total else None)] for name, n in kinds.items()]
    columns = [Column("When", "text"), Column("Commits", bars=True), Column("Share", "ratio")]
    return Card("Day, night, weekend", columns, rows if total else [], ["commit_hours"])


async def by_hour(view: View) -> Card:
    """All days together."""
    counts = await _counts(view)
    rows = [[Cell(f"{hour}:00"), Cell(sum(counts.get(24 * day + hour, 0) for day in range(7)))] for hour in range(24)]
    columns = [Column("Hour", "text"), Column("Commits")]
    return Card("All days", columns, rows if counts else [], ["commit_hours"], "bar")
