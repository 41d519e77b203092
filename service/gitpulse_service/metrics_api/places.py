"""What there is: projects, teams, people, hooks, backfills; and what was counted just now."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gitpulse_service.errors import ServiceError
from gitpulse_service.metrics_api import models
from gitpulse_service.metrics_api.answers import ANSWERS, AnswerRoute, page
from gitpulse_service.metrics_api.caller import AnyCaller
from gitpulse_service.metrics_api.numbers import ProjectName, described
from gitpulse_service.metrics_api.questions import AskOne, AskPage
from gitpulse_service.store import unmatched as store
from gitpulse_service.store.roster import team

MOST_UNMATCHED = 10_000
"""Those after the busiest are not shown."""

router = APIRouter(route_class=AnswerRoute, responses=ANSWERS)
stream = APIRouter()


@router.get("/projects", tags=["projects"])
async def projects(
    asked: AskPage, caller: AnyCaller, request: Request, response: Response
) -> models.ListOf[models.Project]:
    """Every project that at least one event told of, by path; for a token of teams, those that a member works in."""
    found = {(it.path or "", it.instance, it.gitlab_id): it for it in await caller.projects()}
    shown, following = page(found, lambda key: key, asked, request, response)
    return models.ListOf(items=[described(found[key]) for key in shown], next=following)


@router.get("/projects/{project:path}", tags=["projects"])
async def project(project: ProjectName, asked: AskOne, caller: AnyCaller) -> models.Project:
    """One project."""
    return described(await caller.project(project, asked.instance))


@router.get("/teams", tags=["people"])
async def teams(asked: AskPage, caller: AnyCaller, request: Request, response: Response) -> models.ListOf[models.Team]:
    """The teams of the map of people, by name."""
    zones = await caller.rows(sa.select(team.c.name, team.c.time_zone))
    found = {name: zone for name, zone in zones if caller.teams is None or name in caller.teams}
    shown, following = page(found, lambda name: [name], asked, request, response)
    people = await caller.people()
    items = [
        models.Team(name=name, time_zone=found[name], members=sorted(who for who in people if name in people[who]))
        for name in shown
    ]
    return models.ListOf(items=items, next=following)


@router.get("/people", tags=["people"])
async def people(
    asked: AskPage, caller: AnyCaller, request: Request, response: Response
) -> models.ListOf[models.Person]:
    """Whoever the map of people knows, by name. Others are counted too, under the name that they give."""
    found = await caller.people()
    shown, following = page(found, lambda name: [name], asked, request, response)
    return models.ListOf(items=[models.Person(name=name, teams=found[name]) for name in shown], next=following)


@router.get("/people/unmatched", tags=["people"])
async def unmatched(
    asked: AskPage, caller: AnyCaller, request: Request, response: Response
) -> models.ListOf[models.Unmatched]:
    """Who is counted and matches nobody in the map of people, the busiest first. It needs a token for all teams."""
    caller.must_see_all()
    found = {(-it.commits - it.other, it.identity): it for it in await store.unmatched(caller.engine, MOST_UNMATCHED)}
    shown, following = page(found, lambda key: key, asked, request, response)
    return models.ListOf(items=[models.Unmatched.model_validate(found[key]) for key in shown], next=following)


@router.get("/backfills", tags=["projects"])
async def backfills(
    asked: AskPage, caller: AnyCaller, request: Request, response: Response
) -> models.ListOf[models.Backfill]:
    """How far the fetching of histories has come. It needs a token for all teams."""
    caller.must_see_all()
    found = {it["name"]: it for it in await caller.parts.backfills()}
    shown, following = page(found, lambda name: [name], asked, request, response)
    return models.ListOf(items=[models.Backfill.model_validate(found[name]) for name in shown], next=following)


@router.get("/hooks", tags=["projects"])
async def hooks(asked: AskPage, caller: AnyCaller, request: Request, response: Response) -> models.ListOf[models.Hook]:
    """The hooks that the operator looks after, and whether they deliver; for a token of teams, of their projects."""
    found = {(it["resource"], it["path"] or ""): it for it in await caller.hooks()}
    shown, following = page(found, lambda key: key, asked, request, response)
    return models.ListOf(items=[models.Hook.model_validate(found[key]) for key in shown], next=following)


@stream.get("/live", tags=["live"], response_class=EventSourceResponse)
async def live(caller: AnyCaller) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `counted`, with the `projects` (paths) and the `kinds` of events, when numbers have changed.

    It comes within a second after a delivery. A comment every 15 s keeps the connection open.
    """
    with contextlib.suppress(ServiceError):  # it ends where the database is away; browsers come back by themselves
        async for keys, kinds in caller.parts.hub.read():
            if not await caller.still():
                return
            if names := await caller.names(keys):
                yield ServerSentEvent(
                    event="counted", data={"projects": sorted(names.values()), "kinds": sorted(kinds)}
                )
