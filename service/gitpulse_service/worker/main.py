"""The worker process: `gitpulse worker` calls `run`, `arq gitpulse_service.worker.main.WorkerSettings` does without."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from arq.connections import RedisSettings
from arq.worker import Worker

from gitpulse_service import metrics
from gitpulse_service.contract import SettingsError
from gitpulse_service.errors import LogUnavailable, ServiceError, StoreUnavailable
from gitpulse_service.log.connection import log_errors
from gitpulse_service.log.port import EventLog
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.worker.drain import Drain, Limits
from gitpulse_service.worker.jobs import Context, arq_settings, backoff

logger = logging.getLogger(__name__)

METRICS_PORT = 9102
START_TRIES = 5
"""How often Redis and the database are tried at start, a second apart, before the worker gives up."""

T = TypeVar("T")


def run(
    settings: ServiceSettings,
    *,
    burst: bool = False,
    host: str = "0.0.0.0",  # noqa: S104 -- Prometheus comes from elsewhere
    metrics_port: int | None = METRICS_PORT,
) -> None:
    """Works until a signal, or with `burst` until the log is empty. Raises ServiceError, SettingsError.

    A signal lets the batches in hand be finished first.
    """
    asyncio.run(work(settings, burst=burst, host=host, metrics_port=metrics_port))


async def work(
    settings: ServiceSettings,
    *,
    burst: bool = False,
    host: str = "0.0.0.0",  # noqa: S104
    metrics_port: int | None = METRICS_PORT,
) -> None:
    """The same in a running event loop; it ends when it is cancelled, too."""
    with contextlib.ExitStack() as stack:
        if metrics_port is not None:
            stack.enter_context(metrics.exposed(metrics_port, host))
        async with _opened(settings) as context:
            if burst:
                await _empty(context["drain"], context["log"])
            else:
                await _serve(settings, context)


@contextlib.asynccontextmanager
async def _opened(settings: ServiceSettings) -> AsyncIterator[Context]:
    """Log and store, reached and migrated. Raises SettingsError, and after a few tries ServiceError."""
    consumer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    engine = create_engine(_database_url(settings))
    log = RedisEventLog.from_settings(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(log.aclose)
        await _patiently(log.backlog)
        await _patiently(lambda: migrate(engine))
        limits = Limits(settings.batch_events, settings.batch_bytes)
        yield {"log": log, "drain": Drain(log, engine, consumer=consumer, limits=limits), "consumer": consumer}


def _database_url(settings: ServiceSettings) -> str:
    if settings.database_url is None:
        raise SettingsError("GITPULSE_DATABASE_URL: is not set")
    return settings.database_url


async def _patiently(action: Callable[[], Awaitable[T]]) -> T:
    for _ in range(START_TRIES - 1):
        try:
            return await action()
        except (LogUnavailable, StoreUnavailable) as error:
            logger.warning("waiting: %s", error)
            await asyncio.sleep(1)
    return await action()


async def _empty(drain: Drain, log: EventLog) -> None:
    """Drains everything; what a dead worker held, it waits for."""
    while left := [partition for partition, waiting in (await log.backlog()).items() if waiting]:
        for partition in left:
            await drain.run(partition, seconds=float("inf"))
        await asyncio.sleep(0.1)


async def _serve(settings: ServiceSettings, context: Context) -> None:
    """Runs arq until a signal. A Redis that goes away ends arq's loop; then a new one starts."""
    failures = 0
    while True:
        worker = Worker(**arq_settings(settings), ctx=dict(context))
        try:
            with log_errors():
                await worker.async_run()
        except LogUnavailable as error:
            failures += 1
            logger.warning("starting over: %s", error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return  # a signal ended arq's loop
        finally:
            with contextlib.suppress(LogUnavailable, asyncio.CancelledError), log_errors():
                await worker.close()
        await asyncio.sleep(backoff(failures))


def __getattr__(name: str) -> object:
    """`WorkerSettings`, made when arq's command asks for it, so that importing this module needs no environment."""
    if name != "WorkerSettings":
        raise AttributeError(name)
    try:
        settings = ServiceSettings.load()
        _database_url(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- for whoever started us, before there is a log
        raise SystemExit(2) from None
    stack = contextlib.AsyncExitStack()

    async def on_startup(context: Context) -> None:
        try:
            context.update(await stack.enter_async_context(_opened(settings)))
        except ServiceError as error:
            print(error, file=sys.stderr)  # noqa: T201
            raise SystemExit(1) from None

    async def on_shutdown(_: Context) -> None:
        await stack.aclose()

    return {
        **arq_settings(settings),
        "redis_settings": RedisSettings.from_dsn(settings.redis_url),  # for `arq --check` alone
        "on_startup": on_startup,
        "on_shutdown": on_shutdown,
    }
