"""Who asks, and what they may see: all, or what the members of their teams did."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, TypeAlias

import sqlalchemy as sa
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.metrics_api.live import Hub
from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.store import queries, tokens
from gitpulse_service.store.engine import reading
from gitpulse_service.store.queries import Project
from gitpulse_service.store.roster import alias, member, team
from gitpulse_service.store.spans import Span

WORK = ("commits", "pushes", "merge_requests_opened", "reviews", "issues_opened", "pipelines", "deployments")
"""Whoever did one of these in a project works in it; a team's projects are those that a member works in."""
KNOWN_FOR = 30.0
"""Seconds for which the projects of teams, and the names of projects, are taken as they were."""

bearer = HTTPBearer(auto_error=False, description="A token of `gitpulse tokens create`.")


async def _none() -> Sequence[Mapping[str, Any]]:
    return ()


async def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(slots=True)
class Parts:
    """What the API stands on, and what it remembers for a while."""

    engine: AsyncEngine
    tokens_required: bool
    hub: Hub
    backfills: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]] = _none
    """How far each has come: `name`, `state`, and what else is known."""
    hooks: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]] = _none
    """Those that the operator looks after, as `models.Hook` has them."""
    health: Callable[[], Awaitable[Mapping[str, float]]] = _nothing
    """What waits to be counted: `deliveries`, `bytes`, `oldest` (seconds), and `dead_letters`."""
    remembered: dict[object, tuple[float, asyncio.Future[Any]]] = field(default_factory=dict)

    async def remember(self, what: object, ask: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """The answer, for a while the same; whoever asks meanwhile waits for it. Raises what `ask` does."""
        at, answer = self.remembered.get(what, (0.0, None))
        if answer is None or time.monotonic() - at >= KNOWN_FOR:
            answer = asyncio.ensure_future(ask())
            self.remembered[what] = time.monotonic(), answer
            answer.add_done_callback(partial(self._forget_failure, what))
        return await asyncio.shield(answer)  # others want it too, if this one does no longer

    def _forget_failure(self, what: object, answer: asyncio.Future[Any]) -> None:
        if (answer.cancelled() or answer.exception()) and self.remembered.get(what, (0.0, None))[1] is answer:
            del self.remembered[what]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may ask. Everything raises StoreUnavailable."""

    parts: Parts
    teams: frozenset[str] | None
    """None: all, and what belongs to none."""
    valid: Callable[[], Awaitable[bool]] | None = field(default=None, repr=False)
    """Asks whether they still may; None: always."""

    @property
    def engine(self) -> AsyncEngine:
        return self.parts.engine

    async def still(self) -> bool:
        """Whether they still may: a token or a session can end while a stream goes on."""
        return self.valid is None or await self.valid()

    def must_see_all(self) -> None:
        """Raises Problem for who may see only some teams."""
        if self.teams is not None:
            raise Problem(HTTPStatus.FORBIDDEN, "only who may see all teams may see this")

    async def scope(self, name: str | None, person: str | None = None) -> tuple[str | None, str]:
        """The team to go by, and its time zone: what was asked for, or the only one there is. Raises Problem."""
        if self.teams is not None:
            mine = ", ".join(sorted(self.teams))
            theirs = sa.select(member.c.team).where(member.c.person == person, member.c.team.in_(self.teams))
            if (name is not None and name not in self.teams) or (person is not None and not await self.rows(theirs)):
                raise Problem(HTTPStatus.FORBIDDEN, f"you may see other teams: {mine}")
            if name is None and person is None:
                if len(self.teams) != 1:
                    raise Problem(HTTPStatus.FORBIDDEN, f"you may see the teams {mine}: add team= with one of them")
                (name,) = self.teams
        if name is None:
            return None, "UTC"
        if not (found := await self.rows(sa.select(team.c.time_zone).where(team.c.name == name))):
            raise Problem(HTTPStatus.NOT_FOUND, f"there is no team {name}; /api/v1/teams lists them")
        return name, found[0][0]

    async def people(self) -> dict[str, list[str]]:
        """Those of the map of people that this caller may see: name -> teams."""
        within = await self.rows(sa.select(member.c.person, member.c.team).order_by(member.c.team))
        known = await self.rows(sa.select(alias.c.person).distinct()) if self.teams is None else []
        found: dict[str, list[str]] = {person: [] for (person,) in known}
        for person, of in within:
            if self.teams is None or of in self.teams:
                found.setdefault(person, []).append(of)
        return found

    async def zones(self) -> dict[str, str]:
        """The teams of the map of people that this caller may see, by name: their time zones."""
        zones = await self.rows(sa.select(team.c.name, team.c.time_zone).order_by(team.c.name))
        return {name: zone for name, zone in zones if self.teams is None or name in self.teams}

    async def projects(self) -> list[Project]:
        """Those that this caller may see."""
        found, mine = await queries.projects(self.engine), await self._mine()
        return [project for project in found if mine is None or project.key in mine]

    async def project(self, name: str, instance: str | None) -> Project:
        """The one with this id or path. Raises Problem."""
        found, mine = await queries.find_projects(self.engine, name, instance), await self._mine()
        found = [project for project in found if mine is None or project.key in mine]
        if not found:
            where = f" of {instance}" if instance else ""
            raise Problem(HTTPStatus.NOT_FOUND, f"no event of a project {name}{where} has been counted")
        if len(found) > 1:
            choices = ", ".join(project.instance or "(none)" for project in found)
            detail = f"several GitLab instances have a project {name}; add instance= with one of: {choices}"
            raise Problem(HTTPStatus.CONFLICT, detail)
        return found[0]

    async def hooks(self) -> list[Mapping[str, Any]]:
        """Those that this caller may see: all, or of the projects that they may see. Raises LogUnavailable too."""
        found = await self.parts.hooks()
        if self.teams is None:
            return [*found]
        mine = {(project.instance, project.path) for project in await self.projects()}
        return [hook for hook in found if (hook["instance"], hook["path"]) in mine]

    async def names(self, keys: Collection[int]) -> dict[int, str]:
        """Of those projects that this caller may see: paths, behind their GitLab where several have the same."""
        mine = await self._mine()
        known: dict[int, str] = await self.parts.remember("names", self._names)
        if not known.keys() >= set(keys):  # the first event of a project
            self.parts.remembered.pop("names", None)
            known = await self.parts.remember("names", self._names)
        return {key: known[key] for key in keys if key in known and (mine is None or key in mine)}

    async def rows(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        """What the map of people says."""
        async with reading(self.engine) as connection:
            return [tuple(row) for row in await connection.execute(query)]

    async def _names(self) -> dict[int, str]:
        found = {p.key: (p.instance, p.path or str(p.gitlab_id)) for p in await queries.projects(self.engine)}
        same = Counter(path for _, path in found.values())
        return {key: f"{where}/{path}" if same[path] > 1 else path for key, (where, path) in found.items()}

    async def _mine(self) -> set[int] | None:
        if self.teams is None:
            return None
        found = [await self.parts.remember((name,), partial(self._worked_in, name)) for name in self.teams]
        return set().union(*found)

    async def _worked_in(self, name: str) -> set[int]:
        found = [await queries.series(self.engine, it, Span(), team=name, group="project") for it in WORK]
        return {int(point.group) for points in found for point in points if point.group is not None}


async def by_token(parts: Parts, secret: str) -> Caller:
    """Whoever shows this token. Raises Problem where it is none, StoreUnavailable."""

    async def valid() -> bool:
        return await tokens.find(parts.engine, secret) is not None

    if found := await tokens.find(parts.engine, secret):
        return Caller(parts, found.teams, valid)
    raise _unauthorized("this token is wrong, revoked, or its time is over", ', error="invalid_token"')


def _unauthorized(detail: str, error: str = "") -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": f'Bearer realm="gitpulse"{error}'})


async def _caller(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]) -> Caller:
    parts: Parts = request.app.state.parts
    if shown is not None:
        return await by_token(parts, shown.credentials)
    if parts.tokens_required:
        raise _unauthorized("show a token: `Authorization: Bearer gpt_…`, made by `gitpulse tokens create`")
    return Caller(parts, None)


AnyCaller: TypeAlias = Annotated[Caller, Depends(_caller)]
