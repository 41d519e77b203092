"""A simulated GitLab, its deliveries with their accidents, and the part of a worker that asks it for the rest."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.contract import Access, Backfill, Filling
from gitpulse_service.events.decode import decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.accesses import Accesses
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.live import Live
from gitpulse_service.store import keys
from gitpulse_service.store.facts import METRICS
from gitpulse_service.store.tables import commit, identity, push, todo
from gitpulse_service.store.write import apply
from gitpulse_service.worker.fetcher import Fetcher
from gitpulse_sim.truth import Push, facts
from gitpulse_sim.world import Project
from harness.simulator import Simulator
from harness.target import Received, Target

Disagreements: TypeAlias = dict[str, tuple[list[str], list[str]]]


class Desk:
    """Counts what a hook delivers, and asks for the rest."""

    def __init__(self, simulator: Simulator, target: Target, engine: AsyncEngine, redis: Redis) -> None:
        self.simulator, self.target, self.engine = simulator, target, engine
        self.backfills = Backfills(redis)
        own = Access("", simulator.url, simulator.token, rate=10_000)
        self.live = Live(redis)
        self.fetcher = Fetcher(Accesses(redis, None, own), self.backfills, engine, self.live)
        self._until = 0

    def hear(self, change: Callable[[Any], Any] = lambda body: body) -> list[Envelope]:
        """What was delivered since the last call, as GitLab has it or as something has changed it."""
        self.simulator.settle()
        made: dict[Push, datetime] = {}
        for project in self.simulator.world.projects.values():
            for at, _, told in project.pushes:
                made.setdefault((told.ref, told.before, told.after), at)
        return [_envelope(each, self.simulator.url, change, made) for each in self.target.take()]

    async def count(self, envelopes: Iterable[Envelope]) -> None:
        for each in envelopes:
            await apply(self.engine, [(each, decode(each))])

    async def heard(self) -> None:
        """All that was delivered is counted, in order."""
        await self.count(self.hear())

    async def ask(self) -> None:
        """Until nothing is left to be asked."""
        while not await self.fetcher.run(self.simulator.url, seconds=5):
            pass
        assert await self.rows(sa.select(todo)) == []

    async def backfill(self, project: Project, *, days: float = 90, check: bool = False) -> Filling:
        while (until := int(time.time())) <= self._until:  # noqa: ASYNC110 - a check must be younger than the last list
            await asyncio.sleep(0.05)
        self._until = until
        since = int(until - days * 86400)
        request = Backfill("one", "", self.simulator.url, f"project/{project.id}", since, until, check)
        await self.backfills.ask(request)
        await self.ask()
        return await self.backfills.filling(request)

    async def disagreements(self, project: Project, heard: Mapping[Push, datetime] | None = None) -> Disagreements:
        return await disagreements(self.engine, self.simulator, project, heard or {})

    async def rows(self, query: sa.Select[Any]) -> list[Any]:
        return await rows(self.engine, query)

    async def commits(self, project: Project) -> dict[str, str | None]:
        """Those that count: sha -> the author's e-mail."""
        c = commit.c
        there = sa.or_(c.lost_at.is_(None), c.seen_at > c.lost_at)
        query = sa.select(c.sha, identity.c.email).outerjoin(identity, identity.c.id == c.author)
        found = await self.rows(query.where(c.project == self.key(project), there))
        return dict(found)

    def true_commits(self, project: Project) -> dict[str, str]:
        """Those of all branches and tags, by git."""
        lines = project.repository.git("log", "--branches", "--tags", "--format=%H %ae").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    async def authors(self, project: Project) -> Counter[str | None]:
        return Counter((await self.commits(project)).values())

    def key(self, project: Project) -> int:
        return keys.project(self.simulator.url, project.id)


async def disagreements(
    engine: AsyncEngine, simulator: Simulator, project: Project, heard: Mapping[Push, datetime]
) -> Disagreements:
    """Metric -> facts that are true and not counted, and such that are counted and not true."""
    true = await asyncio.to_thread(simulator.run, facts(project, heard=heard))
    found = {}
    for name, metric in METRICS.items():
        if metric.as_of:
            continue
        query = metric.select.params(bots=[]).subquery("fact")  # the map of people is empty
        key = keys.project(simulator.url, project.id)
        told = await rows(engine, sa.select(*query.c).where(query.c.project == key))
        said = Counter(
            (str(at and at.replace(microsecond=0)), who, str(label), value) for _, at, who, label, value in told
        )
        wanted = Counter(
            (str(fact.at), _who(simulator, fact.who), str(_who(simulator, fact.label)), fact.value)
            for fact in true[name]
        )
        if wanted != said:
            found[name] = sorted(map(str, (wanted - said).elements())), sorted(map(str, (said - wanted).elements()))
    return found


async def answered(engine: AsyncEngine) -> None:
    """Waits until nothing is left to be asked."""
    async with asyncio.timeout(60):
        while await rows(engine, sa.select(todo).limit(1)):  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(0.1)


async def heard_at(engine: AsyncEngine) -> dict[Push, datetime]:
    """When each push was first received."""
    c = push.c
    return {tuple(key): at for *key, at in await rows(engine, sa.select(c.ref, c.before, c.after, c.received_at))}


async def rows(engine: AsyncEngine, query: sa.Select[Any]) -> list[Any]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(query)]


def _who(simulator: Simulator, who: object) -> object:
    """The key of somebody, as the tables have it; any other label as it is."""
    if isinstance(who, tuple):
        kind, *said = who
        return keys.account(simulator.url, said[0]) if kind == "account" else keys.author(*said)
    return who


def _envelope(
    received: Received, instance: str, change: Callable[[Any], Any], made: Mapping[Push, datetime]
) -> Envelope:
    """A push comes five seconds after it was made, whatever year it is in the simulator; all else comes now."""
    body = change(received.json)
    at = made.get((body.get("ref"), body.get("before"), body.get("after")))
    moment = min(at.timestamp() + 5, time.time()) if at else time.time()
    name = received.headers["Idempotency-Key"] or str(time.time_ns())
    return Envelope("", name, received.event, instance, 0, int(moment * 1000), msgspec.json.encode(body))


@contextlib.asynccontextmanager
async def desk(simulator: Simulator, target: Target, engine: AsyncEngine, redis_url: str) -> AsyncIterator[Desk]:
    """With a hook in acme/website for everything."""
    async with Redis.from_url(redis_url) as redis:
        it = Desk(simulator, target, engine, redis)
        with contextlib.closing(it.fetcher):
            yield it
