"""The first page: what is happening now, and how the range went against the one before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gitpulse_service.dashboard.cards import Card, Cell, Column, by_group, charts, place, tiles
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.hooks import health
from gitpulse_service.dashboard.pages import Cards, board, page
from gitpulse_service.dashboard.view import AskPage, View, look
from gitpulse_service.metrics_api import places
from gitpulse_service.store import objects
from gitpulse_service.store.spans import Span

ACTS = {
    "pushes": "pushed",
    "merge_requests_opened": "opened",
    "merge_requests_merged": "got merged",
    "reviews": "reviewed",
    "issues_opened": "opened",
    "pipelines": "ran CI on",
    "deployments": "deployed to",
}
TILES = (
    "commits", "merge_requests_merged", "time_to_merge", "time_to_first_review", "pipeline_success_rate", "deployments",
)  # fmt: skip
_LATEST, _OF_A_KIND = 8, 3

router = APIRouter()


@router.get("/")
async def overview(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """All projects, or those of the filters."""
    if not await viewer.caller.projects():
        return page(request, "empty", viewer)
    view = await look(request, viewer, asked)
    busiest = {
        "Commits": ("commits", "count"),
        "Merged": ("merge_requests_merged", "count"),
        "Time to merge": ("time_to_merge", "p50"),
        "Pipeline success": ("pipeline_success_rate", "mean"),
    }
    cards: Cards = {
        "commits": charts(view)["commits"],
        "latest": partial(latest, view),
        **charts(view),
        "health": partial(health, view),
        "projects": partial(by_group, view, "Busiest projects", "project", busiest, most=8),
    }
    return await board(view, "Overview", cards, partial(tiles, view, *TILES))


@router.get("/live", response_class=EventSourceResponse)
async def live(viewer: AnyViewer) -> AsyncIterator[ServerSentEvent]:
    """What the API streams, for whoever looks."""
    async for event in places.live(viewer.caller):
        yield event


async def latest(view: View) -> Card:
    """The newest that was done; of each kind a few, so that a busy one leaves room for others."""
    recent = Span(max(view.start, view.end - timedelta(days=2)), view.span.end)
    ask = (objects.behind(view.caller.engine, it, recent, limit=_OF_A_KIND, **view.whose) for it in ACTS)
    found = [(fact, act) for act, each in zip(ACTS, await asyncio.gather(*ask), strict=True) for fact in each]
    found.sort(key=lambda it: it[0].at, reverse=True)
    rows = [
        [Cell(fact.who, fact.who and place(view, "person", fact.who)), Cell(ACTS[act]), Cell(fact.title, fact.url),
         Cell(fact.project, place(view, "project", fact.project)), Cell(fact.at)]
        for fact, act in found[:_LATEST]
    ]  # fmt: skip
    columns = [Column(it, "text") for it in ("Who", "Did", "What", "Project", "When")]
    return Card("Latest", columns, rows, empty="Nothing in the last two days of this range.")
