"""What the workers do: ratios, promises, and what a year of a company costs to ask about.

1. Events counted per second, ours against the plain way, one arq job and one transaction an event, in the same run.
   Both decode and write with the same code, so that the ratio is that of the design: a log read in batches.
2. `visible_p99_s`: receiver and one worker as programs of their own; deliveries at the most that one gitlab.com
   namespace sends; from acceptance to the commit, after which every query sees it (PostgreSQL notes when that was).
3. `backlog_per_s`: a backlog of BACKLOG deliveries, all different, emptied by two workers on two cores, which Redis and
   PostgreSQL need too; how many that is for each second of a worker's core; and how much a worker's memory grows.
4. `query_p95_ms`: questions to a year of a company of 200, see `_company`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from arq import func
from arq.connections import ArqRedis
from arq.worker import Worker
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.events.decode import decode
from gitpulse_service.log.codec import decode as open_entry, encode as close_entry
from gitpulse_service.log.connection import connect
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.write import apply
from gitpulse_service.worker.drain import Drain, Limits
from gitpulse_service.worker.main import collect_seldom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench._company import query_p95_ms
from bench._events import mixed, push
from bench._load import Load, requests

from harness.postgres import postgres_server, stopped
from harness.processes import answers, free_port, running
from harness.redis import redis_server

GOALS = {
    "ours_vs_plain_pg": ">= 15",
    "ours_vs_plain_sqlite": ">= 15",
    "visible_p99_s": "< 1",
    "backlog_per_s": ">= 6000",
    "query_p95_ms": "< 100",
    "growth_mib": "<= 16",
}
EVENTS = 40_000
BACKLOG = int(os.environ.get("BACKLOG", "100000"))
WORKERS = 2
PER_NAMESPACE = 217
PACED_SECONDS = 20
COMMAND = [sys.executable, "-m", "gitpulse_cli"]
TOKEN = "bench-token"


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Measures `n` push events of four commits each (the plain way a twentieth of them), then the rest."""
    figures = _ratios(n or EVENTS, say)
    with tempfile.TemporaryDirectory() as name, postgres_server() as (url, data):
        folder = Path(name)
        _configure(url, data, "track_commit_timestamp = on")  # PostgreSQL notes when each transaction was committed
        with redis_server(folder) as redis:
            env = {"GITPULSE_REDIS_URL": redis.url, "GITPULSE_DATABASE_URL": url, "GITLAB_WEBHOOK_SECRET": TOKEN}
            figures["visible_p99_s"] = _visible_p99(env, folder)
            say(f"{PER_NAMESPACE}/s: visible after {figures['visible_p99_s']:.2f} s (p99)")
        (folder / "backlog").mkdir()
        with redis_server(folder / "backlog") as redis:
            figures |= _backlog({**env, "GITPULSE_REDIS_URL": redis.url}, folder, say)
    with postgres_server() as (url, data):
        _configure(url, data, "shared_buffers = 2GB")  # as on a machine of 8 GB; the default is 128 MB
        figures["query_p95_ms"] = query_p95_ms(url, say=say)
    return {key: round(value, 2) for key, value in figures.items()}


# --- ours and the plain way -------------------------------------------------------------------------------------------


def _ratios(events: int, say: Callable[[str], None]) -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis, postgres_server() as (url, _):
        for name, database in (("pg", url), ("sqlite", f"sqlite:///{folder}/store.db")):
            settings = ServiceSettings(redis_url=redis.url, database_url=database)
            plain = asyncio.run(_plain(settings, events // 20))
            say(f"{name}: one job and one transaction an event: {plain:,.0f}/s")
            ours = asyncio.run(_ours(settings, name, events))
            say(f"{name}: ours: {ours:,.0f}/s")
            figures |= {f"plain_{name}": plain, f"ours_{name}": ours, f"ours_vs_plain_{name}": ours / plain}
    return figures


async def _store(settings: ServiceSettings) -> AsyncEngine:
    assert settings.database_url is not None
    engine = create_engine(settings.database_url)
    await migrate(engine)
    return engine


async def _ours(settings: ServiceSettings, name: str, events: int) -> float:
    engine, log = await _store(settings), RedisEventLog.from_settings(settings)
    await _fill(log, [push(f"{name}-ours", events + number) for number in range(events)])
    drain = Drain(log, engine, consumer="bench", limits=Limits(settings.batch_events, settings.batch_bytes))
    collect_seldom()
    began = time.perf_counter()
    await asyncio.gather(*(drain.run(partition, seconds=600) for partition in range(settings.partitions)))
    rate = events / (time.perf_counter() - began)
    assert not sum((await log.backlog()).values())
    await log.aclose()
    await engine.dispose()
    return rate


async def _fill(log: RedisEventLog, envelopes: list[Any]) -> None:
    for start in range(0, len(envelopes), 500):
        receipts = await log.append(envelopes[start : start + 500])
        assert not any(receipt.duplicate for receipt in receipts)


async def _plain(settings: ServiceSettings, events: int) -> float:
    engine = await _store(settings)
    queue = ArqRedis(connect(settings.redis_url).connection_pool)

    async def job(_: dict[str, object], entry: bytes) -> None:
        envelope = open_entry(entry)
        await apply(engine, [(envelope, decode(envelope))])

    for number in range(events):
        await queue.enqueue_job("job", close_entry(push("plain", number)))
    worker = Worker(
        [func(job, name="job")],
        redis_pool=queue,
        burst=True,
        max_jobs=50,
        poll_delay=0.05,
        keep_result=0,
        log_results=False,
        handle_signals=False,
    )
    began = time.perf_counter()
    await worker.main()
    rate = events / (time.perf_counter() - began)
    assert worker.jobs_complete == events
    await worker.close()
    await engine.dispose()
    return rate


# --- programs ---------------------------------------------------------------------------------------------------------


def _configure(url: str, data: Path, line: str) -> None:
    """Restarts PostgreSQL with one more line in its configuration."""
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write(f"{line}\n")
    with stopped(data):
        pass
    asyncio.run(_ask(url, "select 1"))


async def _ask(url: str, query: str) -> list[Any]:
    engine = create_engine(url)
    async with engine.connect() as connection:
        rows = (await connection.execute(text(query))).all()
    await engine.dispose()
    return list(rows)


def _visible_p99(env: dict[str, str], folder: Path) -> float:
    port, metrics = free_port(), free_port()
    receiver = [*COMMAND, "receiver", "--port", str(port), "--metrics-port", "0"]
    worker = [*COMMAND, "worker", "--metrics-port", str(metrics)]
    with (
        running(worker, log=folder / "worker.log", env=env, cwd=folder, ready=lambda: answers(metrics)),
        running(receiver, log=folder / "receiver.log", env=env, cwd=folder, ready=lambda: answers(port)),
    ):
        load = Load(requests(TOKEN, "paced"), PER_NAMESPACE * PACED_SECONDS, 64, rate=PER_NAMESPACE).run(port)
        sent = len(load.accepted_ids)
        took = _visible(env["GITPULSE_DATABASE_URL"], sent)
    return sorted(took)[int(len(took) * 0.99)]


def _visible(url: str, sent: int) -> list[float]:
    """Seconds from acceptance to commit, of each delivery."""
    query = "select extract(epoch from pg_xact_commit_timestamp(xmin) - received_at) from delivery"
    end = time.monotonic() + 60
    while len(took := [float(seconds) for (seconds,) in asyncio.run(_ask(url, query))]) < sent:
        assert time.monotonic() < end, f"{len(took)} of {sent} deliveries are visible after a minute"
        time.sleep(0.2)
    return took


def _backlog(env: dict[str, str], folder: Path, say: Callable[[str], None]) -> dict[str, float]:
    settings = ServiceSettings(redis_url=env["GITPULSE_REDIS_URL"], max_backlog=10 * BACKLOG, max_backlog_bytes=2**40)
    asyncio.run(_pile_up(settings, say))
    before = _size(env["GITPULSE_DATABASE_URL"])
    began = time.perf_counter()
    sizes: dict[int, list[float]] = {}
    argv = [*COMMAND, "worker", "--burst", "--metrics-port", "0"]
    with contextlib.ExitStack() as stack:
        logs = [folder / f"burst-{number}.log" for number in range(WORKERS)]
        workers = [stack.enter_context(running(argv, log=it, env=env, cwd=folder, ready=lambda: True)) for it in logs]
        watched = {worker.pid: psutil.Process(worker.pid) for worker in workers}
        spent: dict[int, float] = {}
        while any(worker.poll() is None for worker in workers):
            for pid, process in watched.items():
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    spent[pid] = sum(process.cpu_times()[:2])
                    sizes.setdefault(pid, []).append(process.memory_info().rss / 1024**2)
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        assert not any(worker.wait() for worker in workers), [it.read_text() for it in logs]
    say(f"a backlog of {BACKLOG:,}: {BACKLOG / seconds:,.0f}/s")
    return {
        "backlog_per_s": BACKLOG / seconds,
        "per_worker_core_s": BACKLOG / sum(spent.values()),
        "growth_mib": max(max(it[len(it) // 5 :]) - max(it[: len(it) // 5 + 1]) for it in sizes.values()),
        "gib_per_million": (_size(env["GITPULSE_DATABASE_URL"]) - before) / BACKLOG * 1e6 / 1024**3,
    }


async def _pile_up(settings: ServiceSettings, say: Callable[[str], None]) -> None:
    log = RedisEventLog.from_settings(settings)
    for start in range(0, BACKLOG, 5000):
        await _fill(log, [mixed("backlog", 10**7 + number) for number in range(start, min(start + 5000, BACKLOG))])
    await log.aclose()
    say(f"{BACKLOG:,} deliveries wait")


def _size(url: str) -> float:
    return float(asyncio.run(_ask(url, "select pg_database_size(current_database())"))[0][0])
