"""The arq jobs, and how arq is told to run them: a doorbell that rings is a `drain`, and a sweep rings for the unrung.

The jobs carry no data: what must not be lost is in the event log, and among the requests for backfills.
"""

from __future__ import annotations

import logging
import socket
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import msgspec
from arq import Retry, cron, func
from arq.connections import ArqRedis

from gitpulse_service import metrics
from gitpulse_service.errors import GitLabFailed, LogUnavailable, StoreUnavailable
from gitpulse_service.log.connection import connect
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store import retention, rollups, sessions, todo
from gitpulse_service.store.forget import stay_forgotten
from gitpulse_service.store.people import replace

logger = logging.getLogger(__name__)

JOB = "drain"
FETCH = "fetch"
JOB_TIMEOUT = 30
"""Seconds. arq keeps a killed worker's job locked for ten more; the sweep does not wait for that."""
FETCH_TIMEOUT = 70
"""The same for one that asks a GitLab."""
TURN = 10
"""Seconds that one job drains, or asks, before it lets others have their turn."""
SWEEP_EVERY = 5
"""Seconds. How late an event is counted at worst when its doorbell was lost, and a change of a team is."""
KUBERNETES = "kubernetes"
"""The source, in the map of people, of what the operator publishes."""
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


async def fetch(context: Context, instance: str) -> None:
    """Asks a GitLab for what deliveries did not tell, for a turn."""
    try:
        done = await context["fetcher"].run(instance, seconds=TURN)
    except (LogUnavailable, StoreUnavailable) as error:
        logger.warning("nothing is fetched: %s", error)
        return  # the sweep rings again
    except GitLabFailed as error:
        logger.warning("%s is left alone for %.0f s: %s", instance, error.retry_after, error)
        raise Retry(defer=error.retry_after) from None  # no worker begins it before
    if not done:
        raise Retry


async def check(context: Context) -> None:
    """Has some projects compared with what GitLab says of their last week."""
    try:
        await context["fetcher"].check(context["check_projects"])
    except (LogUnavailable, StoreUnavailable) as error:
        logger.warning("no check: %s", error)


async def sweep(context: Context) -> None:
    """Rings for every partition that has a backlog, whoever was to ring for it, and for every GitLab."""
    try:
        backlog = await context["log"].backlog()
        for partition in (partition for partition, waiting in backlog.items() if waiting):
            # The id is this process's own: a killed worker's jobs stay locked for a while.
            await context["redis"].enqueue_job(JOB, partition, _job_id=f"{JOB}:{partition}:{context['consumer']}")
        for instance in await context["fetcher"].instances():  # one job at a time for each, whoever runs it
            await context["redis"].enqueue_job(FETCH, instance, _job_id=f"{FETCH}:{instance}")
    except (LogUnavailable, StoreUnavailable) as error:
        logger.warning("no sweep: %s", error)


async def follow_teams(context: Context) -> None:
    """Takes over the teams that the operator has published, when they have changed."""
    try:
        await context["teams"].sync(partial(replace, context["engine"], KUBERNETES))
    except (LogUnavailable, StoreUnavailable) as error:
        logger.warning("no news of teams: %s", error)


async def roll_up(context: Context) -> None:
    """Makes the daily sums of what has become old enough, or was written late."""
    try:
        await rollups.roll(context["engine"])
    except StoreUnavailable as error:
        logger.warning("nothing is rolled up for now: %s", error)


async def retire(context: Context) -> None:
    """Forgets what is kept no longer, and makes room for the raw deliveries to come."""
    try:
        forgotten = await retention.retire(context["engine"], datetime.now(UTC), context["kept"])
        await todo.forget(context["engine"], datetime.now(UTC) - todo.KEPT)
        await sessions.forget(context["engine"], datetime.now(UTC))
        forgotten["identity"] = await stay_forgotten(context["engine"])
    except StoreUnavailable as error:
        logger.warning("nothing is forgotten for now: %s", error)
    else:
        logger.info("forgot %s", forgotten)


def arq_settings(settings: ServiceSettings) -> dict[str, Any]:
    """What arq is told, whoever starts it. Its defaults would run 20 jobs a second and unpickle what is in Redis."""
    logging.getLogger("arq.worker").setLevel(logging.WARNING)  # it writes two lines a job
    serialize: dict[str, Any] = {"job_serializer": msgspec.json.encode, "job_deserializer": msgspec.json.decode}
    # mypy: arq wants coroutines that take any arguments.
    jobs = [func(drain, max_tries=sys.maxsize), func(fetch, max_tries=sys.maxsize, timeout=FETCH_TIMEOUT)]  # type: ignore[arg-type]
    often = set(range(0, 60, SWEEP_EVERY))
    every = [cron(job, second=often, run_at_startup=True, max_tries=1) for job in (sweep, follow_teams)]  # type: ignore[arg-type]
    minutely = cron(roll_up, second=37, max_tries=1)  # type: ignore[arg-type]
    hourly = cron(retire, minute=17, max_tries=1)  # type: ignore[arg-type]
    nightly = cron(check, hour=2, minute=41, max_tries=1)  # type: ignore[arg-type]
    return {
        "functions": jobs,
        "cron_jobs": [*every, minutely, hourly, nightly],
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
