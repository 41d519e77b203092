"""Merge requests: how long they take, who reviews whom, and which have been open for longest."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from functools import partial

from fastapi import APIRouter, Request, Response

from gitpulse_service.dashboard.cards import Card, Cell, Column, facts, heat, over_time, place, tiles
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import board
from gitpulse_service.dashboard.view import AskPage, View, look
from gitpulse_service.store import objects, queries

HOUR, DAY = 3600, 86400
STEPS = {
    "under 1 h": HOUR, "1 to 2 h": 2 * HOUR, "2 to 4 h": 4 * HOUR, "4 to 8 h": 8 * HOUR, "8 to 24 h": DAY,
    "1 to 2 d": 2 * DAY, "2 to 4 d": 4 * DAY, "4 to 7 d": 7 * DAY, "over 7 d": 10**12,
}  # fmt: skip
"""What a histogram's bars hold: up to how many seconds, that not included."""
_OPEN = 12

router = APIRouter()


@router.get("/merge-requests")
async def merge_requests(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """Of all projects, or those of the filters."""
    view = await look(request, viewer, asked)
    waits = {
        "Merge, median": ("time_to_merge", "p50"),
        "Merge, 9 of 10": ("time_to_merge", "p90"),
        "First review, median": ("time_to_first_review", "p50"),
    }
    counts = {"Opened": ("merge_requests_opened", "count"), "Merged": ("merge_requests_merged", "count"),
              "Closed": ("merge_requests_closed", "count")}  # fmt: skip
    cards = {
        "time-to-merge": partial(histogram, view, "How long until merged", "time_to_merge"),
        "waits": partial(over_time, view, "Waiting", "line", waits),
        "reviews": partial(reviews, view),
        "counts": partial(over_time, view, "Opened, merged, closed", "bar", counts),
        "open": partial(oldest, view),
    }
    names = ("merge_requests_opened", "merge_requests_merged", "time_to_merge", "time_to_first_review", "reviews")
    return await board(view, "Merge requests", cards, partial(tiles, view, *names))


async def histogram(view: View, title: str, metric: str) -> Card:
    """How many facts have a value within each step."""
    counts = Counter[int]()
    for value, n in await queries.distribution(view.caller.engine, metric, view.span, **view.whose):
        counts[bisect_left([*STEPS.values()], value + 1)] += n
    rows = [[Cell(name), Cell(counts[i])] for i, name in enumerate(STEPS)]
    return Card(title, [Column("Time", "text"), Column("Merge requests")], rows if counts else [], [metric], "bar")


async def reviews(view: View) -> Card:
    """Who reviewed whose, as a table with a row for each reviewer and a column for each author."""
    found = await objects.reviewed(view.caller.engine, view.span, **view.whose)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for who, author, n in found:
        counts[who or "nobody known"][author or "nobody known"] += n
    authors = sorted({author for of in counts.values() for author in of})
    most = max((n for *_, n in found), default=0)

    def cell(who: str, author: str) -> Cell:
        n = counts[who][author]
        return Cell(n, view.behind("reviews", person=who, label=author) if n else None, heat(n, most))

    rows = [[Cell(who, place(view, "person", who)), *(cell(who, it) for it in authors)] for who in sorted(counts)]
    columns = [Column("Reviewer ↓ author →", "text"), *(Column(it) for it in authors)]
    note = "Each row is a reviewer, each column whose merge requests they wrote on or approved, each once."
    return Card("Who reviews whom", columns, rows, ["reviews"], wide=True, note=note, heated=True)


async def oldest(view: View) -> Card:
    """The merge requests that have been open for longest at the end of the range."""
    engine, metric = view.caller.engine, "merge_requests_open"
    found = await objects.behind(engine, metric, view.span, largest=True, limit=_OPEN, **view.whose)
    return facts(view, "Open for longest", metric, found, empty="None is open.")
