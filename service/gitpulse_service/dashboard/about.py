"""Teams, people and projects: a list of each with search, and a page about each one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from gitpulse_service.dashboard.cards import Card, Cell, Column, Figure, by_group, charts, place, tiles
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import board
from gitpulse_service.dashboard.view import AskPage, View, look
from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.store.queries import names

Group = Literal["project", "person", "team"]
FIGURES: Mapping[str, Figure] = {
    "Commits": ("commits", "count"),
    "Merged": ("merge_requests_merged", "count"),
    "Time to merge": ("time_to_merge", "p50"),
    "Reviews": ("reviews", "count"),
    "Pipelines": ("pipelines", "count"),
}
TILES = ("commits", "merge_requests_merged", "time_to_merge", "time_to_first_review", "reviews")

router = APIRouter()


@router.get("/teams")
async def teams(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """All of them, or the one of the filter."""
    view = await look(request, viewer, asked)
    known = [it for it in await viewer.caller.zones() if asked.team in (None, it)]

    async def each() -> Card:
        """One by one: what is asked of one team's work tells of another only what people did who are in both."""
        cards: list[Card] = [
            await _table(await look(request, viewer, asked, team=it), "Teams", "team", [it], wide=True)()
            for it in known
        ]
        rows = [row for it, card in zip(known, cards, strict=True) for row in card.rows if row[0].value == it]
        return replace(cards[0], rows=sorted(rows, key=lambda row: -row[1].value))

    card = each if view.asked.team else _table(view, "Teams", "team", known, wide=True)
    return await board(view, "Teams", {"team": card}, search=True)


@router.get("/people")
async def people(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """Whom the map of people knows, and who else did anything."""
    view = await look(request, viewer, asked)
    found = await viewer.caller.people()
    return await _list(view, "People", "person", [it for it in found if view.asked.team in (None, *found[it])])


@router.get("/projects")
async def projects(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """All of them."""
    view = await look(request, viewer, asked)
    known = [it.path or str(it.gitlab_id) for it in await viewer.caller.projects()]
    return await _list(view, "Projects", "project", [it for it in known if it in asked.project or not asked.project])


@router.get("/teams/{name:path}")
async def team(name: str, request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """What its members did."""
    view = await look(request, viewer, asked, team=name)
    members = sorted(who for who, of in (await viewer.caller.people()).items() if name in of)
    told = [(f"{len(members)} members", None)]
    cards = {"people": _table(view, "Members", "person", members), "projects": _table(view, "Projects", "project")}
    return await _about(view, "Team", name, told, cards)


@router.get("/people/{name:path}")
async def person(name: str, request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """What one person did."""
    view = await look(request, viewer, asked, person=name)
    known, same = await viewer.caller.people(), sa.select(names().c.identity).where(names().c.name == name).limit(1)
    if name not in known and not await viewer.caller.rows(same):
        raise Problem(HTTPStatus.NOT_FOUND, f"nobody named {name} did anything that was counted")
    told = [(of, place(view, "team", of)) for of in known.get(name, [])]
    cards = {"projects": _table(view, "Projects", "project"), "reviewed": partial(_reviewed, view)}
    return await _about(view, "Person", name, told, cards)


@router.get("/projects/{name:path}")
async def project(name: str, request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """What was done in one project."""
    found = await viewer.caller.project(name, asked.instance)
    view = await look(request, viewer, asked, project=name)
    web = found.web_url if (found.web_url or "").startswith(("https://", "http://")) else None
    cards = {"people": _table(view, "People", "person")}
    return await _about(view, "Project", name, [("in GitLab", web)] if web else [], cards)


async def _about(
    view: View, kind: str, name: str, told: Collection[tuple[str, str | None]], cards: Mapping[str, Any]
) -> Response:
    """A page about one of them."""
    return await board(view, name, {**charts(view), **cards}, partial(tiles, view, *TILES), kind=kind, facts=told)


async def _list(view: View, title: str, group: Group, known: Collection[str]) -> Response:
    return await board(view, title, {group: _table(view, title, group, known, wide=True)}, search=True)


def _table(view: View, title: str, group: Group, known: Collection[str] = (), **more: Any) -> Any:  # noqa: ANN401
    return partial(by_group, view, title, group, FIGURES, known=known, search=view.asked.q, **more)


async def _reviewed(view: View) -> Card:
    """Whose merge requests somebody reviewed."""
    answer = await view.series("reviews", group_by="label")
    found = sorted(answer.items, key=lambda row: (-row.count, str(row.group)))
    rows = [
        [Cell(row.group, place(view, "person", str(row.group))),
         Cell(row.count, view.behind("reviews", label=str(row.group)))]
        for row in found if row.group is not None
    ]  # fmt: skip
    return Card("Reviewed for", [Column("Author", "text"), Column("Reviews", bars=True)], rows, ["reviews"])
