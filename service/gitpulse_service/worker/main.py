"""The worker process: `gitpulse worker` calls `run`, `arq gitpulse_service.worker.main.WorkerSettings` does without."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from arq.connections import RedisSettings
from arq.worker import Worker

from gitpulse_service import logs, metrics
from gitpulse_service.contract import SettingsError, sentinels
from gitpulse_service.errors import LogFull, LogUnavailable, ServiceError, StoreUnavailable
from gitpulse_service.log.accesses import Accesses
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.connection import connect, log_errors
from gitpulse_service.log.live import Live
from gitpulse_service.log.port import EventLog
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.log.teams import Teams
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.retention import make_days
from gitpulse_service.worker import team_series
from gitpulse_service.worker.drain import Drain, Limits
from gitpulse_service.worker.fetcher import Fetcher
from gitpulse_service.worker.jobs import Context, arq_settings, backoff

logger = logging.getLogger(__name__)

METRICS_PORT = 9102
START_TRIES = 60
"""How often Redis and the database are tried at start, a second apart, before the worker gives up: beside a new worker
they may be new themselves, and still be fetching their images."""
FILE_TRIES = 5
"""The same of a database that is a file, which nobody brings."""

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
    collect_seldom()
    asyncio.run(work(settings, burst=burst, host=host, metrics_port=metrics_port))


async def work(
    settings: ServiceSettings,
    *,
    burst: bool = False,
    host: str = "0.0.0.0",  # noqa: S104
    metrics_port: int | None = METRICS_PORT,
    stop: asyncio.Event | None = None,
) -> None:
    """The same in a running event loop, until `stop` is set or, without it, until a signal."""
    logs.configure()
    async with _opened(settings) as context:
        with contextlib.ExitStack() as stack:
            if metrics_port is not None:
                stack.enter_context(metrics.exposed("worker", metrics_port, host))
            if burst:
                await _empty(context["drain"], context["log"])
            else:
                await _serve(settings, context, stop or _signalled())


def collect_seldom() -> None:
    """Has garbage looked for less often, in all of this process: batches make many objects, and none in a cycle."""
    gc.freeze()  # what is there already stays
    gc.set_threshold(50_000, 20, 20)


@contextlib.asynccontextmanager
async def _opened(settings: ServiceSettings) -> AsyncIterator[Context]:
    """Log and store, reached and migrated. Raises SettingsError, and after a few tries ServiceError."""
    consumer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    engine = create_engine(settings.needed_database_url(), keep_emails=settings.keep_emails)
    log = RedisEventLog.from_settings(settings)
    redis = connect(settings.redis_url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(log.aclose)
        stack.push_async_callback(redis.aclose)
        tries = FILE_TRIES if engine.dialect.name == "sqlite" else START_TRIES
        await _patiently(log.backlog, START_TRIES)
        await _patiently(lambda: migrate(engine), tries)
        await _patiently(lambda: make_days(engine, datetime.now(UTC)), tries)
        live = Live(redis)
        fetcher = Fetcher(Accesses.from_settings(redis, settings), Backfills(redis), engine, live)
        stack.callback(fetcher.close)
        if settings.team_series:
            series = asyncio.create_task(team_series.keep(engine, settings.team_series))
            stack.push_async_callback(asyncio.wait, [series])
            stack.callback(series.cancel)
        limits = Limits(settings.batch_events, settings.batch_bytes)
        yield {
            "log": log,
            "engine": engine,
            "fetcher": fetcher,
            "check_projects": settings.check_projects,
            "drain": Drain(log, engine, consumer=consumer, limits=limits, live=live),
            "teams": Teams(redis, settings.installation_key),
            "consumer": consumer,
            "kept": {
                "delivery": timedelta(days=settings.raw_retention_days),
                **{str(table): timedelta(days=days) for table, days in settings.retention_days.items()},
            },
        }


async def _patiently(action: Callable[[], Awaitable[T]], tries: int) -> T:
    for _ in range(tries - 1):
        try:
            return await action()
        except (LogUnavailable, StoreUnavailable) as error:
            logger.warning("waiting: %s", error)
            await asyncio.sleep(1)
    return await action()


async def _empty(drain: Drain, log: EventLog) -> None:
    """Drains everything; what a dead worker held, it waits for."""
    while left := [partition for partition, waiting in (await log.backlog()).items() if waiting]:
        ended = await asyncio.gather(*(_empty_one(drain, partition) for partition in left), return_exceptions=True)
        if errors := [it for it in ended if it]:  # now that none is at work any more
            raise errors[0]
        await asyncio.sleep(0.1)


async def _empty_one(drain: Drain, partition: int) -> None:
    with contextlib.suppress(LogFull):  # without memory Redis takes no note of what is empty, or begun
        await drain.run(partition, seconds=float("inf"))


def _signalled() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _serve(settings: ServiceSettings, context: Context, stop: asyncio.Event) -> None:
    """Runs arq until it is told to stop. A Redis that goes away ends arq's loop; then a new one starts."""
    stopped = asyncio.create_task(stop.wait())
    for failures in itertools.count():
        worker = Worker(**arq_settings(settings), ctx=dict(context), handle_signals=False)
        loop = asyncio.create_task(worker.async_run())
        try:
            await asyncio.wait([loop, stopped], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                return
            with log_errors():
                await loop
        except LogUnavailable as error:
            logger.warning("starting over: %s", error)
        finally:
            if stop.is_set():
                context["drain"].stop()
            await _end(worker, loop)
        await asyncio.wait([stopped], timeout=backoff(failures))


async def _end(worker: Worker, loop: asyncio.Task[None]) -> None:
    """Lets the jobs finish the batch in hand, and closes the connections."""
    worker.handle_sig(signal.SIGTERM)
    while not loop.done():  # now and then a call to Redis swallows the cancellation
        loop.cancel()
        await asyncio.wait([loop], timeout=0.1)
    await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    worker.tasks.clear()  # `close` would wait for them too, but not beyond the first that was cancelled
    pool = worker.pool.connection_pool
    with contextlib.suppress(LogUnavailable), log_errors():
        await worker.close()
    await pool.disconnect()  # where Redis is away, `close` does not get that far


def _for_check(url: str) -> RedisSettings:
    """What `arq --check` connects with; the worker itself goes by `arq_settings`."""
    if not (place := sentinels(url)):
        return RedisSettings.from_dsn(url)
    login = {name: value for name, value in place.options.items() if name in ("username", "password", "ssl")}
    return RedisSettings(
        host=list(place.hosts), sentinel=True, sentinel_master=place.master, database=place.options["db"], **login
    )


def __getattr__(name: str) -> object:
    """`WorkerSettings`, made when arq's command asks for it, so that importing this module needs no environment."""
    if name != "WorkerSettings":
        raise AttributeError(name)
    try:
        settings = ServiceSettings.load()
        settings.needed_database_url()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- for whoever started us, before there is a log
        raise SystemExit(2) from None
    logs.configure()
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
        "redis_settings": _for_check(settings.redis_url),
        "on_startup": on_startup,
        "on_shutdown": on_shutdown,
    }
