"""The workers, as Redis shows them: their sign of life, what waits, what was laid aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Seen, fine, wrong
from gitpulse_cli.doctor.patient import Patient
from gitpulse_service.log.connection import log_errors
from gitpulse_service.log.port import Survey

SIGNS = "gitpulse:worker:*"
"""Keys that workers write each ten seconds and that go a second later: `health_check_key` of `worker.jobs`."""
LOOKS = 10
"""A worker that is busy is late with its sign, and there is none until it comes: a third of a second between them."""
OLD = 300.0
"""Seconds, as of the alert GitPulseBacklogOld."""


async def look(patient: Patient, _: Subject) -> AsyncIterator[Seen]:
    """Is anyone counting, and does everything get counted?"""
    workers = await signs(patient.redis)
    waiting = await survey(patient)
    number, oldest = sum(waiting.deliveries.values()), max(waiting.oldest.values(), default=0.0)
    backlog = f"{number} deliveries wait, the oldest for {oldest:.0f} s"
    if not workers:
        yield wrong(causes.WORKER_DOWN, f"no key {SIGNS}; {backlog}")
    elif waiting.full >= 1:
        yield wrong(causes.BACKLOG_FULL, backlog)
    elif oldest > OLD:
        yield wrong(causes.BACKLOG_OLD, backlog)
    if waiting.dead_letters:
        yield wrong(causes.DEAD_LETTERS, f"{waiting.dead_letters} of them")
    elif workers and waiting.full < 1 and oldest <= OLD:
        yield fine(f"{len(workers)} at work; {backlog}")


async def signs(redis: Any) -> list[bytes]:  # noqa: ANN401 -- the library's own types differ from version to version
    """Of the workers that live. Raises LogUnavailable."""
    for look in range(LOOKS):
        await asyncio.sleep(look and 1 / 3)
        with log_errors():
            if found := [key async for key in redis.scan_iter(match=SIGNS, count=1000)]:
                return found
    return []


async def survey(patient: Patient) -> Survey:
    """What waits. Raises LogUnavailable."""
    from gitpulse_service.log.redis_log import RedisEventLog

    log = RedisEventLog.from_settings(patient.service)
    try:
        return await log.survey()
    finally:
        await log.aclose()


WORKER = Check("worker", lambda _: [Subject()], look, needs=("redis", "database"))
