"""A random real history, the accidents of its deliveries, and what our numbers and the truth disagree about."""

from __future__ import annotations

import json
import uuid
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
from redis.asyncio import Redis

from gitpulse_service.contract import Access, Backfill, Person, Team
from gitpulse_service.events.decode import decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.accesses import Accesses
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.live import Live
from gitpulse_service.store import people, queries, rollups
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.facts import METRICS
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.spans import Span, buckets
from gitpulse_service.store.write import apply
from gitpulse_service.worker.fetcher import Fetcher
from gitpulse_sim.deliver import Answer
from gitpulse_sim.hook import TOGGLES, Hook
from gitpulse_sim.instance import Instance
from gitpulse_sim.server import serving
from gitpulse_sim.truth import Fact, Push, facts
from gitpulse_sim.wild import play, wild_world
from gitpulse_sim.world import World
from harness.dumps import wipe

VERSIONS = ("17.3.0", "17.4.0", "17.11.2", "18.2.0", "18.8.1", "19.0.0", "19.1.0")
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu")
TOKEN = "wild-token"
MAP = {
    "core": {"Ann A.": "ann", "José N.": "jose"},
    "far": {"Chandra": "chandra", "Moana": "moana", "Ann A.": "ann"},
}
"""Team -> person -> user name. The others are in no team."""


async def disagreements(seed: int, database: str, redis_url: str) -> list[str]:
    """Plays one history and compares; each line says what is and what should be."""
    random = Random(seed)
    engine, redis = create_engine(database), Redis.from_url(redis_url)
    await redis.flushall()
    await migrate(engine)
    await wipe(engine)
    await people.replace(engine, "test", _teams())
    try:
        return await _History(random, engine, redis).check()
    finally:
        await redis.aclose()
        await engine.dispose()


def _teams() -> list[Team]:
    def person(name: str, user: str) -> Person:
        return Person(name, emails=(f"{user}@acme.example", f"{user}@home.example"), usernames=(user,))

    return [Team(name, tuple(person(*one) for one in members.items()), bots=("ci-*",)) for name, members in MAP.items()]


class _History:
    def __init__(self, random: Random, engine: Any, redis: Redis) -> None:
        self.random, self.engine, self.redis = random, engine, redis
        self.versions = sorted(random.choices(range(len(VERSIONS)), k=3))
        self.world: World = wild_world(
            random, Instance(version=VERSIONS[self.versions[0]], manual_calls_per_minute=10**6)
        )
        self.loss = random.choice((0.0, 0.0, 0.1, 0.5))
        self.heard: dict[Push, datetime] = {}
        """When a push was first received."""
        self.on_their_way: list[Envelope] = []
        self.said: list[str] = []

    async def check(self) -> list[str]:
        for project in self.world.projects.values():
            _hook(self.world, project, self.random)
        for group in self.world.groups.values():
            _hook(self.world, group, self.random)
        start = self.world.clock.now()
        once = aiohttp.TCPConnector(force_close=True)  # a kept connection may be closed just when it is used
        async with (
            serving(self.world, port=0, post=self.post) as forge,
            aiohttp.ClientSession(connector=once) as client,
        ):
            fetcher = self._fetcher()
            for version in self.versions:
                self.world.instance.version = VERSIONS[version]
                self.world.instance.time_zone = self.random.choice(ZONES)
                await play(forge, self.random, self.random.randint(3, 25))
                await self._press_buttons(client)
                await self._deliver(self.random.random())
                if self.random.random() < 0.7:
                    await fetcher.run(self.world.url, seconds=self.random.choice((0.05, 60)))
                if self.random.random() < 0.3:
                    await rollups.roll(self.engine)
            await self._deliver(1)
            self.world.clock.advance(90)
            await self._backfill(start)
            await fetcher.run(self.world.url, seconds=60)
            fetcher.close()
            await rollups.roll(self.engine)
            return await self._compare()

    # --- deliveries and their accidents -----------------------------------------------------------------------------

    async def post(self, hook: Hook, headers: Mapping[str, str], body: bytes) -> Answer:
        """Takes a delivery, or answers as a receiver that is down."""
        if self.random.random() < self.loss:
            return Answer(503)
        at = self.world.clock.now() + timedelta(milliseconds=self.random.choice((0, 200, 61_000)))
        name = headers.get("webhook-id") or headers.get("Idempotency-Key") or str(uuid.uuid4())
        received = int(at.timestamp() * 1000)
        envelope = Envelope(f"hook-{hook.id}", name, headers["X-Gitlab-Event"], self.world.url, 1, received, body)
        self.on_their_way += [envelope] * self.random.choice((1, 1, 1, 2))
        content = json.loads(body)
        told = content["commits"] if content.get("object_kind") in ("push", "tag_push") else None
        if told is not None and not any(one["id"] == content["before"] for one in told):  # else somebody pressed Test
            push = content["ref"], content["before"], content["after"]
            self.heard[push] = min(at, self.heard.get(push, at))
        return Answer(200)

    async def _press_buttons(self, client: aiohttp.ClientSession) -> None:
        """Tests and resends, as people or repairs do."""
        base, headers = f"{self.world.url}/api/v4", {"PRIVATE-TOKEN": TOKEN}
        for project in self.world.projects.values():
            for hook in list(project.hooks.values()):
                place = f"{base}/projects/{project.id}/hooks/{hook.id}"
                for trigger in ("push_events", "merge_requests_events", "issues_events", "pipeline_events"):
                    if self.random.random() < 0.3:
                        await client.post(f"{place}/test/{trigger}", headers=headers)
                rows = list(hook.log.rows)
                for row in self.random.sample(rows, min(len(rows), self.random.choice((0, 0, 3)))):
                    await client.post(f"{place}/events/{row.id}/resend", headers=headers)

    async def _deliver(self, share: float) -> None:
        """Counts so many of those on their way, in any order."""
        self.random.shuffle(self.on_their_way)
        count = round(len(self.on_their_way) * share)
        now, self.on_their_way = self.on_their_way[:count], self.on_their_way[count:]
        while now:
            size = self.random.choice((1, 7, 60))
            await apply(self.engine, [(envelope, decode(envelope)) for envelope in now[:size]])
            now = now[size:]

    def _fetcher(self) -> Fetcher:
        own = Access("test", self.world.url, TOKEN, rate=1e6)
        accesses, backfills, live = Accesses(self.redis, None, own), Backfills(self.redis), Live(self.redis)
        return Fetcher(accesses, backfills, self.engine, live, clock=self.world.clock.now)

    async def _backfill(self, start: datetime) -> None:
        since, until = start - timedelta(days=1), self.world.clock.now()
        for project in self.world.projects.values():
            name = f"fill {project.id}"
            span = int(since.timestamp()), int(until.timestamp())
            await Backfills(self.redis).ask(Backfill(name, "", self.world.url, f"project/{project.id}", *span))
            for made, _, change in project.pushes:
                push, told = (
                    (change.ref, change.before, change.after),
                    made.replace(microsecond=0) + timedelta(minutes=1),
                )
                self.heard[push] = min(told, self.heard.get(push, told))

    # --- ours and the truth -------------------------------------------------------------------------------------------

    async def _compare(self) -> list[str]:
        true: dict[int, dict[str, list[Fact]]] = {}
        known = {one.gitlab_id: one.key for one in await queries.projects(self.engine)}
        now, random = self.world.clock.now(), self.random
        spans = [Span(), *(self._span(now) for _ in range(3))]
        for span in spans:
            end = span.end or datetime.now(UTC)
            for project in self.world.projects.values():
                if not project.repository.is_empty:
                    true[known[project.id]] = await facts(project, to=end, heard=self.heard)
            for name, metric in METRICS.items():
                if metric.as_of and span.end is None:
                    continue
                projects = random.choice((None, [random.choice(list(true))])) if true else None
                whose = random.choice(({}, {"team": random.choice(list(MAP))}, {"person": random.choice(NAMES)}))
                group = random.choice((None, "project", "person", "team", "label" if metric.labels else None))
                bots = random.random() < 0.5
                edges = self._edges(span, metric)
                points = await queries.series(
                    self.engine, name, span, projects=projects, edges=edges, group=group, bots=bots, **whose
                )
                ours = {(p.bucket, p.group): (p.count, p.sum, p.mean, p.p50, p.p75, p.p90, p.p95) for p in points}
                asked = _Asked(self.world, metric, span, edges, group, whose, bots)
                wanted = {key: of[name] for key, of in true.items() if projects is None or key in projects}
                truth = asked.answer(wanted)
                if ours != truth:
                    self.said.append(_difference(f"{name} {span} {group} {whose} bots={bots}", ours, truth))
        return self.said

    def _span(self, now: datetime) -> Span:
        ends = sorted(now - timedelta(seconds=self.random.uniform(-1e5, 40 * 86_400)) for _ in range(2))
        return Span(*(end.replace(microsecond=0) for end in ends))

    def _edges(self, span: Span, metric: Any) -> list[datetime] | None:
        if span.start is None or metric.as_of or self.random.random() < 0.3:
            return None
        zone = ZoneInfo(self.random.choice((*ZONES, "Pacific/Chatham")))
        return buckets(span, self.random.choice(("day", "week", "month", "quarter", "year")), zone)


NAMES = ("Ann A.", "Moana", "Björn Åkesson", "CI Bot")


class _Asked:
    """The same question, answered by counting."""

    def __init__(
        self,
        world: World,
        metric: Any,
        span: Span,
        edges: Sequence[datetime] | None,
        group: str | None,
        whose: Mapping[str, str],
        bots: bool,
    ) -> None:
        self.world, self.metric, self.edges, self.group, self.whose, self.bots = (
            world,
            metric,
            edges,
            group,
            whose,
            bots,
        )
        self.start, self.end = span.start, span.end
        self.persons = {user: name for members in MAP.values() for name, user in members.items()}

    def answer(self, true: Mapping[int, Iterable[Fact]]) -> dict[Any, Any]:
        found: defaultdict[Any, list[Any]] = defaultdict(list)
        for project, some in true.items():
            for fact in some:
                if self._holds(fact):
                    for group in self._groups(project, fact):
                        found[self._bucket(fact), group].append(
                            (project, fact.label) if self.metric.distinct else fact.value
                        )
        return {key: self._figures(values) for key, values in found.items()}

    def _holds(self, fact: Fact) -> bool:
        within = self.metric.as_of or (
            (self.start is None or fact.at >= self.start)
            and (self.end is None or fact.at < self.end)
            and (not self.edges or self.edges[0] <= fact.at < self.edges[-1])
        )
        name = self._name(fact.who)
        team, person = self.whose.get("team"), self.whose.get("person")
        return (
            within
            and (team is None or name in MAP[team])
            and (person is None or name == person)
            and (self.bots or not self._is_bot(fact.who))
        )

    def _user(self, who: Any) -> Any:
        if who is None:
            return None
        if who[0] == "account":
            return self.world.users[who[1]]
        return next((user for user in self.world.users.values() if user.username == who[2].partition("@")[0]), None)

    def _is_bot(self, who: Any) -> bool:
        user = self._user(who)
        return user is not None and user.username.startswith("ci-")

    def _name(self, who: Any) -> str | None:
        if who is None:
            return None
        user = self._user(who)
        if user is not None and user.username in self.persons:
            return self.persons[user.username]
        return user.name if who[0] == "account" else who[1]

    def _groups(self, project: int, fact: Fact) -> list[Any]:
        match self.group:
            case None:
                return [None]
            case "project":
                return [project]
            case "label":
                return [self._name(fact.label) if self.metric.label_is_person else fact.label]
            case "person":
                return [self._name(fact.who)]
        return [team for team, members in MAP.items() if self._name(fact.who) in members] or [None]

    def _bucket(self, fact: Fact) -> int | None:
        return bisect_right(self.edges, fact.at) - 1 if self.edges else None

    def _figures(self, values: list[Any]) -> tuple[Any, ...]:
        if self.metric.distinct:
            return (len(set(values)), *[None] * 6)
        count = len(values)
        if self.metric.unit == "count":
            return (count, *[None] * 6)
        total, ordered = sum(values), sorted(values)
        mean = (2 * total + count) // (2 * count) if self.metric.unit == "seconds" else total / count
        ranks = [ordered[-(-count * p // 100) - 1] for p in (50, 75, 90, 95)]
        return (count, total, mean, *(ranks if self.metric.unit != "ratio" else [None] * 4))


def _difference(what: str, ours: Mapping[Any, Any], truth: Mapping[Any, Any]) -> str:
    keys = [key for key in {**ours, **truth} if ours.get(key) != truth.get(key)]
    some = "; ".join(f"{key}: is {ours.get(key)}, should be {truth.get(key)}" for key in keys[:3])
    return f"{what}: {len(keys)} differ: {some}"


def _hook(world: World, place: Any, random: Random) -> None:
    """One that hears of everything; now and then two, or of a group none."""
    for _ in range(random.choice((1, 1, 1, 2)) if place.kind == "project" else random.choice((0, 1))):
        number = world.next_id("hook")
        wanted = {name for name, toggle in TOGGLES.items() if place.kind in toggle.parents}
        place.hooks[number] = Hook(
            id=number, parent_kind=place.kind, parent_id=place.id, created_at=world.clock.now(),
            url="http://receiver.example/", events=wanted,
        )  # fmt: skip
