"""Receiver, Redis and worker as programs of their own, each killed with SIGKILL at random moments under load.

A round is 1,000 deliveries. A kill falls due with the nth answer, and strikes while the other connections wait for
theirs; the program is started again soon after. When all is drained, the database is asked what was counted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import redis as redis_client
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    WEBHOOK_PATH,
    Credential,
    Route,
    seal,
)
from gitpulse_service.log.redis_log import GROUP, stream
from gitpulse_service.store import keys, queries, tables
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.spans import Span
from harness.processes import SCRIPTS, answers, free_port, running
from harness.redis import redis_server
from harness.sender import Delivery, Sender

PER_ROUND = 1000
KILLS = 2
"""How often each program is killed in a round."""
CLAIM_IDLE = 1.0
"""Seconds after which a new worker takes over what a killed one held. By default 30: too long for a round."""
_KEY = bytes(range(32))
_INSTANCE = "https://gitlab.example.com"
HOOKS = 8
PARTITIONS = 16
SERVE = """
import sys
from gitpulse_service.receiver import server
from gitpulse_service.settings import ServiceSettings
server.run(ServiceSettings.load(), port=int(sys.argv[1]), metrics_port=None)
"""

Start = Callable[[], contextlib.AbstractContextManager[int]]
"""Starts a program and waits until it answers; its value is the process id."""


class Program:
    """A program that dies and comes back. `start` is called anew for each life."""

    def __init__(self, start: Start) -> None:
        self._start, self._life = start, contextlib.ExitStack()
        self.pid: int | None = None
        """None from a kill until it answers again."""

    async def revive(self) -> None:
        """Starts it, after what is left of its last life has been cleared away."""
        self._life.close()
        self.pid = await asyncio.to_thread(lambda: self._life.enter_context(self._start()))

    def close(self) -> None:
        """Ends it."""
        self._life.close()


@dataclass
class Figures:
    """What became of the deliveries of one round, or of several."""

    sent: int = 0
    accepted: int = 0
    """Answered 200."""
    counted: int = 0
    """In the numbers in the end, each once: all that were accepted, and some of those whose answer was lost."""
    lost: int = 0
    """Accepted, and not in the numbers."""
    double: int = 0
    """In the numbers more than once, answered as a duplicate though sent once, or there though never sent."""
    refused: int = 0
    """Answered 503."""
    closed: int = 0
    """Not answered: the connection was closed. Nobody can tell whether they were stored; at most once all the same."""
    other: int = 0
    """Answered in any other way."""
    kills: int = 0
    struck: int = 0
    """Kills that hit something: deliveries that waited for an answer, or that the worker had read and not written."""

    def __iadd__(self, other: Figures) -> Self:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


class Casualties:
    """The three programs, their sender, and the database that is asked in the end."""

    def __init__(self, port: int, redis_url: str, engine: AsyncEngine, programs: dict[str, Program]) -> None:
        self._port, self._redis_url, self._engine, self._programs = port, redis_url, engine, programs
        self._figures = Figures()

    @classmethod
    @contextlib.asynccontextmanager
    async def begun(cls, folder: Path, database_url: str) -> AsyncIterator[Casualties]:
        """All three are up, and the operator has published its hooks."""
        port, redis_port, metrics_port = free_port(), free_port(), free_port()
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        env = {
            "GITPULSE_REDIS_URL": redis_url,
            "GITPULSE_INSTALLATION_KEY": base64.b64encode(_KEY).decode(),
            "GITPULSE_DATABASE_URL": database_url,
            "GITPULSE_CLAIM_IDLE": str(CLAIM_IDLE),
        }

        @contextlib.contextmanager
        def redis() -> Iterator[int]:
            with redis_server(folder, "--appendfsync", "always", port=redis_port, appendonly=True) as server:
                yield server.pid

        @contextlib.contextmanager
        def ours(name: str, answer_port: int, *argv: str | Path) -> Iterator[int]:
            with running(argv, log=folder / f"{name}.log", env=env, ready=lambda: answers(answer_port)) as process:
                yield process.pid

        receive = (sys.executable, "-c", SERVE, str(port))
        work = (SCRIPTS / "gitpulse", "worker", "--metrics-port", str(metrics_port))
        engine = create_engine(database_url)
        programs = {
            "redis": Program(redis),
            "receiver": Program(lambda: ours("receiver", port, *receive)),
            "worker": Program(lambda: ours("worker", metrics_port, *work)),
        }
        with contextlib.ExitStack() as stack:
            for program in programs.values():
                stack.callback(program.close)
            await programs["redis"].revive()
            _publish(redis_url)
            await migrate(engine)
            await programs["receiver"].revive()
            await programs["worker"].revive()
            yield cls(port, redis_url, engine, programs)
            await engine.dispose()

    async def round(self, number: int) -> Figures:
        """Sends, kills, waits until all is drained, and counts."""
        figures = self._figures = Figures()
        sender = Sender(self._port)
        fates, strikes = self._fates(), set[asyncio.Task[None]]()

        def answered() -> None:
            """A kill that is due strikes a program that lives; one that is dead dies again as soon as it lives."""
            for moment, name in fates:
                program = self._programs[name]
                if moment <= len(sender.outcomes) and (pid := program.pid):
                    fates.remove((moment, name))
                    program.pid = None
                    strikes.add(asyncio.create_task(self._strike(name, pid, sender)))
                    return

        sender.answered = answered
        deliveries = [_delivery(number, i) for i in range(PER_ROUND)]
        await sender.send(deliveries)
        await asyncio.gather(*strikes)
        await self._drained()
        counts = sender.counts()
        figures.sent = PER_ROUND
        figures.accepted, figures.refused, figures.closed = counts["accepted"], counts["503"], counts["closed"]
        figures.other = PER_ROUND - figures.accepted - figures.refused - figures.closed - counts["duplicate"]
        figures.double = counts["duplicate"]
        await self._count(number, deliveries, sender.named("accepted"))
        return figures

    def _fates(self) -> list[tuple[int, str]]:
        """With which answer each program is killed."""
        names = [name for name in self._programs for _ in range(KILLS)]
        random.shuffle(names)
        return list(zip(sorted(random.sample(range(20, PER_ROUND * 9 // 10), len(names))), names, strict=True))

    async def _strike(self, name: str, pid: int, sender: Sender) -> None:
        await asyncio.sleep(random.uniform(0, 0.003))  # not always in the same phase of a group commit
        struck = await self._caught(pid) if name == "worker" else sender.waiting > 0
        os.kill(pid, signal.SIGKILL)
        self._figures.kills += 1
        self._figures.struck += struck
        await asyncio.sleep(random.uniform(0, 0.3))
        await self._programs[name].revive()

    async def _caught(self, worker: int) -> bool:
        """Holds the worker still, at best with deliveries in its hands that it has not acknowledged."""
        with redis_client.Redis.from_url(self._redis_url) as redis:
            for _ in range(100):
                os.kill(worker, signal.SIGSTOP)
                if _held(redis):
                    return True
                os.kill(worker, signal.SIGCONT)
                await asyncio.sleep(random.uniform(0, 0.005))
        return False

    async def _drained(self) -> None:
        with redis_client.Redis.from_url(self._redis_url) as redis:
            deadline = time.monotonic() + 60
            while any(redis.xlen(stream(p)) for p in range(PARTITIONS)):
                assert time.monotonic() < deadline, "the worker is stuck"
                await asyncio.sleep(0.05)

    async def _count(self, number: int, deliveries: list[Delivery], accepted: set[str]) -> None:
        """Each delivery pushed one commit of its own: what the query API says must be what is there, one for one."""
        figures = self._figures
        async with self._engine.connect() as connection:
            raw = tables.delivery.c
            found = await connection.execute(sa.select(raw.delivery_id).where(raw.delivery_id.startswith(f"{number}-")))
            stored = [row.delivery_id for row in found]
        span = Span(None, None)
        pushes = commits = 0
        for hook in range(HOOKS):
            of = [keys.project(_INSTANCE, _project(number, hook))]
            counted = await queries.totals(self._engine, ("pushes", "commits"), span, projects=of)
            pushes += counted["pushes"].count
            commits += counted["commits"].count
        foreign = len(set(stored) - {delivery.name for delivery in deliveries})
        figures.counted = min(pushes, commits, len(stored))
        figures.lost = len(accepted - set(stored)) + len(stored) - figures.counted
        figures.double += max(pushes, commits, len(stored)) - len(set(stored)) + foreign


def _project(number: int, hook: int) -> int:
    return 1 + number * HOOKS + hook


def _delivery(number: int, i: int) -> Delivery:
    name, hook = f"{number}-{i}", i % HOOKS
    sha = hashlib.sha1(name.encode()).hexdigest()
    commit = {
        "id": sha,
        "timestamp": "2026-01-31T18:45:47+01:00",
        "author": {"name": "Ann", "email": "ann@acme.example"},
        "message": "x" * random.choice((200, 2000, 20_000)),
    }
    project = {"id": _project(number, hook), "path_with_namespace": f"acme/p{hook}", "name": "p", "web_url": ""}
    about = {"object_kind": "push", "project": project, "ref": "refs/heads/main", "before": "0" * 40, "after": sha}
    body = json.dumps({**about, "commits": [commit]}).encode()
    return Delivery(name, f"{WEBHOOK_PATH}/hook{hook}", f"token{hook}", body)


def _publish(redis_url: str) -> None:
    with redis_client.Redis.from_url(redis_url) as redis:
        for hook in range(HOOKS):
            route = Route(f"hook{hook}", "", _INSTANCE, (Credential(1, f"token{hook}"),))
            redis.hset(DIRECTORY, route.hook_id, seal(_KEY, route))
            redis.xadd(DIRECTORY_CHANGES, {"hook": route.hook_id})
        redis.hset(DIRECTORY_SHARDS, "", "1")


def _held(redis: redis_client.Redis) -> bool:
    for partition in range(PARTITIONS):
        with contextlib.suppress(redis_client.RedisError):  # it is dead too, or nobody has read here yet
            if redis.xpending(stream(partition), GROUP)["pending"]:
                return True
    return False
