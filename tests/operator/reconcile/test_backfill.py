"""What GitLab never sent is fetched: real receiver, worker, Redis, database and git; the simulator's truth decides."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_operator.errors import GitLabUnavailable
from gitpulse_service.contract import (
    ACCESSES,
    BACKFILLS,
    DIRECTORY,
    DIRECTORY_ACKS,
    FILLINGS,
    Access,
    Filling,
    feedback_key,
    unseal,
)
from gitpulse_service.store.engine import create_engine
from gitpulse_sim.activity import replay
from gitpulse_sim.faults import Fault
from harness.asking import Disagreements, answered, disagreements, heard_at
from harness.dumps import dump
from harness.life import Life, at_a_free_port
from harness.processes import SCRIPTS, answers, free_port, running, wait_until
from harness.receiver import serving, settings

EVENTS = ["Push", "TagPush", "MergeRequest", "Note", "Issue", "Pipeline", "Job", "Deployment", "Release"]


class Outage:
    """A house whose deliveries are counted, and whose hook GitLab will switch off."""

    def __init__(self, house, folder) -> None:
        self.house, self.folder = house, folder
        self.sim = house.simulator
        self.sim.world.instance.auto_disabling = True
        house.connection["requestsPerSecond"] = 1000
        house.change(events=EVENTS)
        self.port = at_a_free_port(house)
        self.database = f"sqlite:///{folder / 'gitpulse.db'}"

    @contextlib.contextmanager
    def worker(self, key: bytes | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """With the operator's key, or another one; empty: with none."""
        metrics, secret = free_port(), self.house.key if key is None else key
        env = {"GITPULSE_REDIS_URL": self.house.redis_url, "GITPULSE_DATABASE_URL": self.database}
        env |= {"GITPULSE_INSTALLATION_KEY": base64.b64encode(secret).decode()} if secret else {}
        argv = [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(metrics)]
        with running(argv, log=self.log, env=env, ready=lambda: answers(metrics)) as process:
            yield process

    @property
    def log(self):
        return self.folder / "worker.log"

    @contextlib.contextmanager
    def receiver(self) -> Iterator[None]:
        it = settings(self.house.redis_url, installation_key=self.house.key, database_url=self.database)
        with serving(it, port=self.port):
            wait_until(lambda: self.house.redis.hlen(DIRECTORY_ACKS), what="a receiver's acknowledgement")
            yield

    def hook(self, project="acme/website") -> str:
        return self.house.hooks(project)[0].url.rpartition("/")[2]

    def came(self, hook: str, ago: timedelta) -> None:
        """As if the last delivery had come so long ago: a history is replayed with past times."""
        self.house.redis.hset(feedback_key(hook), "accepted:1", int((time.time() - ago.total_seconds()) * 1000))

    def history(self, *projects, days=5) -> None:
        # Of so much there is enough of everything, whatever day of the week it is today.
        self.sim.run(replay(self.sim.forge, projects or [self.sim.website], days=days, acts_a_day=300))

    def switched_off(self, hook: str) -> None:
        """Four deliveries fail and are logged; then the hook is off, and five days of work are dropped unlogged."""
        for _ in range(4):
            self.sim.push()
        self.came(hook, timedelta(days=6))
        self.history()

    def filling(self, hook: str) -> Filling:
        noted = self.house.redis.hget(FILLINGS, hook)
        return msgspec.json.decode(noted, type=Filling)

    def done(self, hook: str) -> Filling:
        return wait_until(
            lambda: f if (f := self.filling(hook)).state != "Running" else None, timeout=60, what="filled"
        )

    async def wrongs(self, project) -> Disagreements:
        """What is true and not counted, or the other way round, once nothing is left to be asked."""
        async with self.store() as engine:
            await answered(engine)
            return await disagreements(engine, self.sim, project, await heard_at(engine))

    def again(self, hook: str, sealed: bytes) -> Filling:
        """The same request once more, to its end."""
        self.house.redis.hdel(FILLINGS, hook)
        self.house.redis.hset(BACKFILLS, hook, sealed)
        wait_until(lambda: self.house.redis.hexists(FILLINGS, hook), what="begun")
        return self.done(hook)

    def request(self, hook: str) -> bytes:
        sealed = self.house.redis.hget(BACKFILLS, hook)
        assert sealed
        return sealed

    async def rows(self) -> Any:
        async with self.store() as engine:
            await answered(engine)
            return await dump(engine)

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[AsyncEngine]:
        engine = create_engine(self.database)
        try:
            yield engine
        finally:
            await engine.dispose()


@pytest.fixture
def outage(house, tmp_path):
    return Outage(house, tmp_path)


@pytest.fixture
async def life(house, outage):
    async with Life.begun(house) as life:
        yield life


async def off_and_on(outage, life) -> str:
    """Up to the moment when the hook delivers again, with a receiver that is up."""
    hook = outage.hook()
    await asyncio.to_thread(outage.switched_off, hook)
    await run(life)
    assert life.delivering() == ("False", "HookDisabled")
    return hook


async def run(life) -> None:
    """GitLab may just have closed a connection that was idle; the agenda, too, comes again then."""
    if isinstance((await life.run()).error, GitLabUnavailable):
        await life.run()


def shown(life) -> dict[str, Any]:
    return life.resource().status["repair"]["backfill"]


async def test_what_was_dropped_is_fetched_and_told(outage, life):
    hook = await off_and_on(outage, life)
    dropped = outage.house.hooks()[0].dropped["disabled"]
    assert dropped > 50
    with outage.worker(), outage.receiver():
        life.told()
        await run(life)
        assert shown(life)["state"] == "Running"
        assert outage.house.redis.hlen(BACKFILLS) == 1
        filling = await asyncio.to_thread(outage.done, hook)
        assert await life.news.look() == [life.ref("website")]
        await run(life)
        status = shown(life)
        assert status["state"] == "Done"
        assert {kind: status[kind] for kind in filling.counts} == filling.counts
        assert sum(count > 0 for count in filling.counts.values()) >= 6, filling
        told = life.told()
        assert told.count("GapFilled") == 1
        assert await outage.wrongs(outage.sim.website) == {}
        assert outage.house.redis.hlen(BACKFILLS) == 0
        assert await life.news.look() == []
        writes = life.resource().status
        await run(life)
        assert life.told() == []
        assert life.resource().status == writes
    for key in (FILLINGS, ACCESSES):
        assert outage.sim.token not in str(outage.house.redis.hgetall(key))
    assert outage.sim.token not in outage.log.read_text()


async def test_twice_is_once(outage, life):
    hook = await off_and_on(outage, life)
    with outage.receiver():
        await run(life)
        sealed = outage.request(hook)
        with outage.worker():
            first = await asyncio.to_thread(outage.done, hook)
            rows = await outage.rows()
            assert sum(first.counts.values()) > 0
            second = await asyncio.to_thread(outage.again, hook, sealed)
            assert sum(second.counts.values()) == 0
            assert (second.since, second.until) == (first.since, first.until)
            assert await outage.rows() == rows


async def test_what_was_received_is_known_to_the_last_field(outage, life):
    """REST and webhooks tell the same of each thing, so that a backfill of what came changes no row of it."""
    hook = outage.hook()
    with outage.worker(), outage.receiver():
        await asyncio.to_thread(outage.history)
        await asyncio.to_thread(outage.came, hook, timedelta(days=6))
        outage.house.hooks()[0].disabled_until = None
        outage.house.redis.hset(feedback_key(hook), "off", int((time.time() - 6 * 86400) * 1000))
        wait_until(lambda: not backlog(outage), what="counted")
        before = await outage.rows()
        await run(life)
        filling = await asyncio.to_thread(outage.done, hook)
        after = await outage.rows()
        assert set(filling.counts.values()) == {0}, filling.counts
        for table in ("push", "merge_request", "issue", "pipeline", "job", "deployment"):
            assert len(before[table]) > 3
            assert after[table] == before[table]


async def test_a_killed_worker_loses_and_doubles_nothing(house, outage):
    house.connection["requestsPerSecond"] = 80  # twenty a second for the worker
    async with Life.begun(house) as life:
        hook = await off_and_on(outage, life)
        with outage.receiver():
            await run(life)
            with outage.worker() as worker:
                await asyncio.to_thread(wait_until, lambda: "commits" in outage.filling(hook).counts, what="a part")
                worker.kill()
            left = outage.filling(hook)
            assert (left.state, left.counts.get("pipelines")) == ("Running", None)
            for key in outage.house.redis.keys("arq:in-progress:*"):  # as arq does 40 s after a death
                outage.house.redis.delete(key)
            with outage.worker():
                done = await asyncio.to_thread(outage.done, hook)
                assert done.counts["pushes"] == left.counts["pushes"] > 0, "it went on from where it was"
                assert await outage.wrongs(outage.sim.website) == {}


async def test_gitlab_may_ask_for_patience_and_break(outage, life):
    hook = await off_and_on(outage, life)
    place = "/api/v4/projects/1"
    outage.sim.world.faults += [
        busy := Fault(path=f"{place}/merge_requests", status=429, retry_after=8, count=2),
        broken := Fault(path=f"{place}/pipelines", status=502, count=1),
        mute := Fault(path=f"{place}/issues", status=403, count=-1),
    ]
    with outage.receiver():
        await run(life)
        with outage.worker():
            await asyncio.to_thread(wait_until, lambda: busy.matched == 1, what="a first refusal")
            began = time.monotonic()
            await asyncio.to_thread(wait_until, lambda: busy.matched == 2, what="a second one")
            assert time.monotonic() - began > 7.5, "the sweep, which rings every five seconds, changes nothing about it"
            filling = await asyncio.to_thread(outage.done, hook)
            assert filling.state == "Done", filling
            assert (busy.count, broken.count) == (0, 0)
            assert mute.matched == 1, "issues may be switched off"
            assert {name.partition("_")[0] for name in await outage.wrongs(outage.sim.website)} <= {"issues", "time"}


@pytest.mark.parametrize(
    ("key", "says"),
    [(bytes(32), "not sealed with this"), (b"", "set GITPULSE_INSTALLATION_KEY")],
    ids=["another key", "no key"],
)
async def test_a_worker_that_cannot_open_it_leaves_it_to_others(outage, life, key, says):
    hook = await off_and_on(outage, life)
    with outage.receiver():
        await run(life)
        with outage.worker(key):
            await asyncio.to_thread(wait_until, lambda: says in outage.log.read_text(), what="the reason")
        assert outage.filling(hook).state == "Running"
        outage.request(hook)
        with outage.worker():
            await asyncio.to_thread(outage.done, hook)
            assert await outage.wrongs(outage.sim.website) == {}


async def test_a_token_that_is_refused_is_told_and_tried_again_when_asked(outage, life):
    hook = await off_and_on(outage, life)
    with outage.worker(), outage.receiver():
        outage.sim.world.faults.append(fault := Fault(path="/api/v4/projects/1/repository/*", status=401, count=-1))
        await run(life)
        await asyncio.to_thread(outage.done, hook)
        life.told()
        await run(life)
        assert (shown(life)["state"], life.told()) == ("Failed", ["GapNotFilled"])
        assert "401" in shown(life)["message"]
        since = shown(life)["from"]
        await run(life)
        assert not outage.house.redis.hlen(BACKFILLS)
        fault.count = 0
        life.ask("again")
        await run(life)
        assert (shown(life)["state"], shown(life)["from"]) == ("Running", since)
        await asyncio.to_thread(outage.done, hook)
        await run(life)
        assert life.told() == ["GapFilled"]
        assert await outage.wrongs(outage.sim.website) == {}


async def test_all_projects_of_a_group_that_were_active(house, outage):
    house.projects = {"website": house.project(group="acme")}
    slept = outage.sim.world.add_project("slept", outage.sim.world.find_group("acme"))
    slept.last_event_at = outage.sim.world.clock.now() - timedelta(days=30)
    slept.pushes.clear()
    async with Life.begun(house) as life:
        (hook,) = outage.sim.world.find_group("acme").hooks.values()
        name = hook.url.rpartition("/")[2]
        for _ in range(4):
            await asyncio.to_thread(outage.sim.push)
        outage.came(name, timedelta(days=6))
        await asyncio.to_thread(outage.history, outage.sim.website, outage.sim.api)
        await run(life)
        assert life.delivering() == ("False", "HookDisabled")
        outage.sim.world.faults.append(looked := Fault(path=f"/api/v4/projects/{slept.id}/*", count=-1))
        with outage.worker(), outage.receiver():
            await run(life)
            await asyncio.to_thread(outage.done, name)
            for project in (outage.sim.website, outage.sim.api):
                assert await outage.wrongs(project) == {}
        assert looked.matched == 0


async def test_a_hook_that_somebody_deleted_left_a_gap_too(outage, life):
    hook = outage.hook()
    with outage.worker(), outage.receiver():
        await asyncio.to_thread(outage.sim.push)
        outage.came(hook, timedelta(days=6))
        await run(life)
        assert "repair" not in life.resource().status
        outage.sim.website.hooks.clear()
        await asyncio.to_thread(outage.history)
        await run(life)
        assert shown(life)["state"] == "Running"
        await asyncio.to_thread(outage.done, hook)
        assert await outage.wrongs(outage.sim.website) == {}
        await run(life)
        assert shown(life)["state"] == "Done"


async def test_the_gap_is_known_whatever_dies_in_between(outage, life):
    """The test delivery that revives is the newest one then; the status is as before the outage."""
    hook = outage.hook()
    await asyncio.to_thread(outage.switched_off, hook)
    last = outage.house.redis.hget(feedback_key(hook), "accepted:1")
    with outage.receiver():
        status = life.resource().status
        gone = Fault(path="/api/v4/projects/1/hooks/*/events", status=500, count=1)
        outage.sim.world.faults.append(gone)
        assert (await life.run()).error, "it was revived, and then the run broke off"
        assert outage.house.redis.hget(feedback_key(hook), "accepted:1") != last
        assert life.resource().status.get("repair") == status.get("repair")
        await run(life)
        since = outage.filling(hook).since
        assert since == int(last) // 1000
        assert outage.house.redis.hget(feedback_key(hook), "off") is None


async def test_a_request_that_redis_lost_is_made_again(outage, life):
    await off_and_on(outage, life)
    with outage.receiver():
        await run(life)
        window = shown(life)["from"]
        outage.house.redis.delete(BACKFILLS, FILLINGS, feedback_key(outage.hook()))
        await asyncio.to_thread(outage.sim.push)
        await run(life)
        assert (shown(life)["from"], outage.house.redis.hlen(BACKFILLS)) == (window, 1)


async def test_what_was_before_a_new_hook_is_fetched_once(house, outage):
    """Without a delivery that would prove the hook; and never again, whatever the operator has forgotten."""
    house.settings["backfill_days"] = 20
    await asyncio.to_thread(outage.history)
    async with Life.begun(house) as life:
        hook = outage.hook()
        assert shown(life)["state"] == "Running"
        with outage.worker(), outage.receiver():
            filling = await asyncio.to_thread(outage.done, hook)
            assert filling.until - filling.since == 20 * 86400
            assert filling.counts["pushes"] > 3
            assert await outage.wrongs(outage.sim.website) == {}
        await run(life)
        assert shown(life)["state"] == "Done"
        outage.house.redis.delete(FILLINGS)
        for _ in range(2):
            life.world.memory.of(hook).missed = True  # so that GitLab's log is gone through
            with outage.receiver():
                await asyncio.to_thread(outage.sim.push)
            await run(life)
        assert outage.house.redis.hlen(BACKFILLS) == 0


async def test_a_token_that_changes_is_granted_alone(house, outage):
    """Ten thousand routes stay as they are; what is gone is granted no more."""
    async with Life.begun(house) as life:
        routes, granted = house.redis.hgetall(DIRECTORY), house.redis.hgetall(ACCESSES)
        (route,) = house.routes().values()
        assert list(granted) == [route.connection.encode()] == [b"default/gitlab"]
        house.connection["requestsPerSecond"] = 20
    async with Life.begun(house) as life:
        (sealed,) = house.redis.hvals(ACCESSES)
        assert unseal(house.key, "default/gitlab", sealed, Access).rate == 5
        assert house.redis.hgetall(DIRECTORY) == routes
        await life.world.directory.revoke("default/gitlab")
        assert house.redis.hlen(ACCESSES) == 0


def backlog(outage) -> int:
    return sum(outage.house.redis.xlen(key) for key in outage.house.redis.keys("gitpulse:log:*"))
