"""The arq jobs, and how arq is told to run them: a doorbell that rings is a `drain`, and a sweep rings for the unrung.

The jobs carry no data: what must not be lost is in the event log, and among the requests for backfills.
"""

from __future__ import annotations

import logging
import socket
import sys
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from arq import Retry, cron, func
from arq.connections import ArqRedis

from gitpulse_service import metrics
from gitpulse_service.errors import LogUnavailable, StoreUnavailable
from gitpulse_service.log.connection import connect
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.retention import forget_deliveries

logger = logging.getLogger(__name__)

JOB = "drain"
BACKFILL = "backfill"
JOB_TIMEOUT = 30
"""Seconds. arq keeps a killed worker's job locked for ten more; the sweep does not wait for that."""
TURN = 10
"""Seconds that one job drains before it lets others have their turn."""
SWEEP_EVERY = 5
"""Seconds. How late an event is counted at worst when its doorbell was lost."""
LONGEST_WAIT = 15.0
"""Seconds between two tries while log or database are away."""

Context: TypeAlias = dict[Any, Any]
"""What arq hands to every job: what `main` puts in at start, and its own under `redis` and `job_try`."""


def backoff(tries: int) -> float:
    """Seconds to wait after so many tries."""
    return min(LONGEST_WAIT, 0.25 * 2.0 ** min(tries, 10))


async def drain(context: Context, partition: int) -> None:
    """The job that a doorbell asks for."""
    try:
        done = await context["drain"].run(partition, seconds=TURN)
    except (LogUnavailable, StoreUnavailable) as error:
        metrics.DRAIN_FAILURES.labels(error.reason).inc()
        logger.warning("partition %d waits: %s", partition, error)
        raise Retry(defer=backoff(context["job_try"])) from None
    if not done:
        raise Retry


async def backfill(context: Context) -> None:
    """Goes on with the backfills that are wanted, for a turn; the sweep rings again while there are any."""
    try:
        await context["backfiller"].run(seconds=TURN)
    except (LogUnavailable, StoreUnavailable) as error:
        logger.warning("no backfill: %s", error)


async def sweep(context: Context) -> None:
    """Rings for every partition that has a backlog, whoever was to ring for it, and for backfills."""
    try:
        backlog = await context["log"].backlog()
    except LogUnavailable as error:
        logger.warning("no sweep: %s", error)
        return
    for partition in (partition for partition, waiting in backlog.items() if waiting):
        # The id is this process's own: a killed worker's jobs stay locked for a while.
        await context["redis"].enqueue_job(JOB, partition, _job_id=f"{JOB}:{partition}:{context['consumer']}")
    await context["redis"].enqueue_job(BACKFILL, _job_id=BACKFILL)  # everybody's: there is one at a time


async def retire(context: Context) -> None:
    """Forgets raw deliveries whose time is over."""
    try:
        forgotten = await forget_deliveries(context["engine"], datetime.now(UTC) - context["raw_kept"])
    except StoreUnavailable as error:
        logger.warning("raw deliveries are kept for now: %s", error)
    else:
        logger.info("forgot %d raw deliveries", forgotten)


def arq_settings(settings: ServiceSettings) -> dict[str, Any]:
    """What arq is told, whoever starts it. Its defaults would run 20 jobs a second and unpickle what is in Redis."""
    logging.getLogger("arq.worker").setLevel(logging.WARNING)  # it writes two lines a job
    serialize: dict[str, Any] = {"job_serializer": msgspec.json.encode, "job_deserializer": msgspec.json.decode}
    # mypy: arq wants coroutines that take any arguments.
    jobs = [func(job, max_tries=sys.maxsize) for job in (drain, backfill)]  # type: ignore[arg-type]
    every = cron(sweep, second=set(range(0, 60, SWEEP_EVERY)), run_at_startup=True, max_tries=1)  # type: ignore[arg-type]
    hourly = cron(retire, minute=17, max_tries=1)  # type: ignore[arg-type]
    return {
        "functions": jobs,
        "cron_jobs": [every, hourly],
        "redis_pool": ArqRedis(connect(settings.redis_url).connection_pool, **serialize),
        "max_jobs": 64,
        "job_timeout": JOB_TIMEOUT,
        "poll_delay": 0.05,
        "keep_result": 0,
        "log_results": False,
        "health_check_interval": 10,
        "health_check_key": f"gitpulse:worker:{socket.gethostname()}",
        **serialize,
    }
