"""What there is: projects, teams, people, hooks, backfills; and what was counted just now."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gitpulse_service.errors import ServiceError
from gitpulse_service.metrics_api import models
from gitpulse_service.metrics_api.answers import ANSWERS, AnswerRoute, AnyPages
from gitpulse_service.metrics_api.caller import AnyCaller
from gitpulse_service.metrics_api.numbers import ProjectName
from gitpulse_service.metrics_api.questions import AskOne
from gitpulse_service.store import unmatched as store

MOST_UNMATCHED = 10_000
"""Those after the busiest are not shown."""

router = APIRouter(route_class=AnswerRoute, responses=ANSWERS)
stream = APIRouter()


@router.get("/projects", tags=["projects"])
async def projects(pages: AnyPages, caller: AnyCaller) -> models.ListOf[models.Project]:
    """Every project that at least one event told of, by path; for a token of teams, those that a member works in."""
    return pages.of(models.Project, {(it.path or "", it.instance, it.gitlab_id): it for it in await caller.projects()})


@router.get("/projects/{project:path}", tags=["projects"])
async def project(project: ProjectName, asked: AskOne, caller: AnyCaller) -> models.Project:
    """One project."""
    return models.Project.model_validate(await caller.project(project, asked.instance))


@router.get("/teams", tags=["people"])
async def teams(pages: AnyPages, caller: AnyCaller) -> models.ListOf[models.Team]:
    """The teams of the map of people, by name."""
    members: dict[str, list[str]] = {}
    for who, of in sorted((await caller.people()).items()):
        for name in of:
            members.setdefault(name, []).append(who)
    zones = await caller.zones()
    found = {name: {"name": name, "time_zone": zones[name], "members": members.get(name, [])} for name in zones}
    return pages.of(models.Team, found)


@router.get("/people", tags=["people"])
async def people(pages: AnyPages, caller: AnyCaller) -> models.ListOf[models.Person]:
    """Whoever the map of people knows, by name. Others are counted too, under the name that they give."""
    return pages.of(models.Person, {name: {"name": name, "teams": of} for name, of in (await caller.people()).items()})


@router.get("/people/unmatched", tags=["people"])
async def unmatched(pages: AnyPages, caller: AnyCaller) -> models.ListOf[models.Unmatched]:
    """Who is counted and matches nobody in the map of people, the busiest first. It needs a token for all teams."""
    caller.must_see_all()
    found = await store.unmatched(caller.engine, MOST_UNMATCHED)
    return pages.of(models.Unmatched, {(-it.commits - it.other, it.identity): it for it in found})


@router.get("/backfills", tags=["projects"])
async def backfills(pages: AnyPages, caller: AnyCaller) -> models.ListOf[models.Backfill]:
    """How far the fetching of histories has come. It needs a token for all teams."""
    caller.must_see_all()
    return pages.of(models.Backfill, {it["name"]: it for it in await caller.parts.backfills()})


@router.get("/hooks", tags=["projects"])
async def hooks(pages: AnyPages, caller: AnyCaller) -> models.ListOf[models.Hook]:
    """The hooks that the operator looks after, and whether they deliver; for a token of teams, of their projects."""
    return pages.of(models.Hook, {(it["resource"], it["path"] or ""): it for it in await caller.hooks()})


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
