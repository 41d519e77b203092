"""Events counted per second: ours against the plain way, one arq job and one transaction an event, in the same run.

Both decode and write with the same code, so that the ratio is that of the design: a log read in batches.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from arq import func
from arq.connections import ArqRedis
from arq.worker import Worker
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.events.decode import decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.codec import decode as open_entry, encode as close_entry
from gitpulse_service.log.connection import connect
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.write import apply
from gitpulse_service.worker.drain import Drain, Limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.postgres import postgres_server
from harness.redis import redis_server

GOALS = {"ours_vs_plain_pg": ">= 5", "ours_vs_plain_sqlite": ">= 3"}
EVENTS = 10_000


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Measures `n` push events of four commits each (the plain way a fifth of them)."""
    events = n or EVENTS
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis, postgres_server() as (url, _):
        for name, database in (("pg", url), ("sqlite", f"sqlite:///{folder}/store.db")):
            settings = ServiceSettings(redis_url=redis.url, database_url=database)
            plain = asyncio.run(_plain(settings, [_push(f"{name}-plain-{i}", i) for i in range(events // 5)]))
            say(f"{name}: one job and one transaction an event: {plain:,.0f}/s")
            ours = asyncio.run(_ours(settings, [_push(f"{name}-ours-{i}", events + i) for i in range(events)]))
            say(f"{name}: ours: {ours:,.0f}/s")
            figures |= {f"plain_{name}": plain, f"ours_{name}": ours, f"ours_vs_plain_{name}": ours / plain}
    return {key: round(value, 1) for key, value in figures.items()}


def _push(delivery: str, number: int) -> Envelope:
    author = {"name": "Ann", "email": "ann@acme.example"}
    commits = [
        {
            "id": f"{number * 4 + k:040x}",
            "timestamp": "2026-01-31T18:45:47+01:00",
            "author": author,
            "message": "x" * 200,
        }
        for k in range(4)
    ]
    project = {"id": 1 + number % 50, "path_with_namespace": f"acme/p{number % 50}", "name": "p", "web_url": ""}
    about = {"object_kind": "push", "project": project, "ref": "refs/heads/main", "repository": {"padding": "x" * 3000}}
    body = json.dumps({**about, "before": f"{number:040x}", "after": f"{number + 1:040x}", "commits": commits})
    return Envelope(f"hook-{number % 50}", delivery, "Push Hook", "https://gitlab", 1, 1_769_900_000_000, body.encode())


async def _store(settings: ServiceSettings) -> AsyncEngine:
    assert settings.database_url is not None
    engine = create_engine(settings.database_url)
    await migrate(engine)
    return engine


async def _ours(settings: ServiceSettings, envelopes: list[Envelope]) -> float:
    engine, log = await _store(settings), RedisEventLog.from_settings(settings)
    for start in range(0, len(envelopes), 500):
        receipts = await log.append(envelopes[start : start + 500])
        assert not any(receipt.duplicate for receipt in receipts)
    drain = Drain(log, engine, consumer="bench", limits=Limits(settings.batch_events, settings.batch_bytes))
    began = time.perf_counter()
    await asyncio.gather(*(drain.run(partition, seconds=600) for partition in range(settings.partitions)))
    rate = len(envelopes) / (time.perf_counter() - began)
    assert not sum((await log.backlog()).values())
    await log.aclose()
    await engine.dispose()
    return rate


async def _plain(settings: ServiceSettings, envelopes: list[Envelope]) -> float:
    engine = await _store(settings)
    queue = ArqRedis(connect(settings.redis_url).connection_pool)

    async def job(_: dict[str, object], entry: bytes) -> None:
        envelope = open_entry(entry)
        await apply(engine, [(envelope, decode(envelope))])

    for envelope in envelopes:
        await queue.enqueue_job("job", close_entry(envelope))
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
    rate = len(envelopes) / (time.perf_counter() - began)
    assert worker.jobs_complete == len(envelopes)
    await worker.close()
    await engine.dispose()
    return rate
