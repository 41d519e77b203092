"""The receiver's application: the webhook endpoint in front, health and the query API behind it on FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Self

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gitpulse_service import logs, metrics, traces
from gitpulse_service.contract import SettingsError
from gitpulse_service.errors import CannotServe, LogUnavailable
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.connection import connect
from gitpulse_service.log.hooks import Hooks
from gitpulse_service.log.live import Live
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.receiver import backlog, tracing
from gitpulse_service.receiver.addresses import networks
from gitpulse_service.receiver.directory import Directory
from gitpulse_service.receiver.doorbell import Doorbell
from gitpulse_service.receiver.limiter import Limiter, rate
from gitpulse_service.receiver.refusals import RefusalNotes
from gitpulse_service.receiver.verification import manual_route
from gitpulse_service.receiver.webhook import Webhook, hook_of
from gitpulse_service.settings import ServiceSettings

logger = logging.getLogger(__name__)

METRICS_PORT = 9101

_Work = Callable[[], Coroutine[None, None, None]]


class Receiver(FastAPI):
    """A FastAPI application that answers webhooks before any of its own machinery is asked."""

    webhook: Webhook
    stopping: Callable[[], None]
    """To be called when the server begins to stop, for it waits for streams that would not end by themselves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (hook_id := hook_of(scope["path"])) is not None:
            await self.webhook(hook_id, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: ServiceSettings | None = None, *, metrics_port: int | None = METRICS_PORT) -> Receiver:
    """The application; without settings it reads the environment, and ends the process if that is wrong.

    `metrics_port` serves Prometheus as long as the application lives; None leaves that to the caller.
    """
    if settings is None:
        logs.configure()
        try:
            return create_app(ServiceSettings.load(), metrics_port=metrics_port)
        except SettingsError as error:
            print(error, file=sys.stderr)  # noqa: T201 -- for whoever started us, before there is a log
            raise SystemExit(2) from None
    secret = settings.gitlab_webhook_secret
    parts = _Parts.of(settings)
    closing: list[_Work] = [parts.aclose]
    works: list[_Work] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, traces.flush)
            if metrics_port is not None:
                try:
                    stack.enter_context(metrics.exposed("receiver", metrics_port))
                except CannotServe as error:  # another receiver on this machine; deliveries matter more
                    logger.warning("serving without metrics: %s", error)
            for close in closing:
                stack.push_async_callback(close)
            for work in (*parts.works(), *(start() for start in works)):
                await stack.enter_async_context(_background(work))
            if parts.directory is None:
                await _say_if_unreachable(parts.log)
            yield

    app = Receiver(title="GitPulse", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.webhook = tracing.endpoint()(
        log=parts.log,
        doorbell=parts.doorbell,
        notes=parts.notes,
        directory=parts.directory,
        manual=None if secret is None else manual_route(secret.get_secret_value()),
        allowed=networks("GITPULSE_ALLOWED_ADDRESSES", settings.allowed_addresses),
        trusted=networks("GITPULSE_TRUSTED_PROXIES", settings.trusted_proxies),
        refused_limit=parts.refused_limit,
        hook_limit=parts.hook_limit,
        max_body_bytes=settings.max_body_bytes,
        max_bytes_in_flight=settings.max_bytes_in_flight,
    )
    app.stopping = lambda: None
    _add_health(app, parts.log, parts.directory)
    if settings.database_url is not None:
        _add_query_api(app, settings, settings.database_url, parts.log, works, closing)
    return app


@dataclass(frozen=True, slots=True)
class _Parts:
    """What stands behind the endpoint."""

    log: RedisEventLog
    doorbell: Doorbell
    notes: RefusalNotes
    refused_limit: Limiter
    hook_limit: Limiter
    directory: Directory | None
    """None where only the hook made by hand is served."""

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """They connect when they are first used. Raises SettingsError."""
        url, key, log = settings.redis_url, settings.installation_key, RedisEventLog.from_settings(settings)
        return cls(
            log,
            Doorbell(url),
            RefusalNotes(log),
            Limiter(url, "refused", rate("GITPULSE_REFUSED_LIMIT", settings.refused_limit)),
            Limiter(url, "hook", rate("GITPULSE_HOOK_LIMIT", settings.hook_limit)),
            Directory(connect(url), key, f"{socket.gethostname()}-{secrets.token_hex(4)}") if key else None,
        )

    def works(self) -> list[Coroutine[None, None, None]]:
        """What runs beside the endpoint."""
        running = [part.run() for part in (self.notes, self.refused_limit, self.hook_limit)]
        return [*running, backlog.watch(self.log), *([self.directory.run()] if self.directory else [])]

    async def aclose(self) -> None:
        for part in (self.directory, self.hook_limit, self.refused_limit, self.doorbell, self.log):
            if part:
                await part.aclose()


def _add_query_api(
    app: Receiver,
    settings: ServiceSettings,
    database_url: str,
    log: RedisEventLog,
    works: list[_Work],
    closing: list[_Work],
) -> None:
    """Serves the numbers too; adds what runs beside that, and what closes it."""
    # SQLAlchemy takes long to import, and a receiver without a database never needs it.
    from gitpulse_service.dashboard import create_dashboard  # noqa: PLC0415
    from gitpulse_service.dashboard.config import SignIn  # noqa: PLC0415
    from gitpulse_service.metrics_api import PREFIX, Hub, Parts, create_api  # noqa: PLC0415
    from gitpulse_service.store.engine import create_engine  # noqa: PLC0415

    sign_in = SignIn.of(settings)
    engine, redis = create_engine(database_url, keep_emails=settings.keep_emails), connect(settings.redis_url)
    hub = Hub(Live(redis).updates)
    backfills, hooks, health = Backfills(redis).shown, Hooks(redis).shown, partial(backlog.health, log)
    parts = Parts(engine, settings.api_tokens_required, hub, backfills, hooks, health)
    app.mount(PREFIX, create_api(parts))
    app.mount("/", create_dashboard(parts, sign_in))
    app.stopping = hub.close
    works.append(hub.run)
    closing += redis.aclose, engine.dispose


def _add_health(app: FastAPI, log: RedisEventLog, directory: Directory | None) -> None:
    @app.get("/api/v1/health")
    async def health() -> JSONResponse:
        """Whether the process turns: a Redis that is away must not restart it."""
        return JSONResponse({"status": "ok"})

    @app.get("/api/v1/ready")
    async def ready() -> JSONResponse:
        """Whether a delivery would be accepted now."""
        try:
            await log.backlog()
        except LogUnavailable as error:
            return _not_ready(str(error))
        if directory is not None and not directory.ready:
            return _not_ready("the directory of hooks is not loaded; does the operator run?")
        return JSONResponse({"status": "ready"})


async def _say_if_unreachable(log: RedisEventLog) -> None:
    """One line at start; where there is a directory, it says so itself."""
    try:
        await log.backlog()
    except LogUnavailable as error:
        logger.warning("answering 503 until the event log can be reached: %s", error)


def _not_ready(message: str) -> JSONResponse:
    return JSONResponse({"status": "error", "reason": "not_ready", "message": message}, 503, {"retry-after": "5"})


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():  # a call to Redis that fails just then may swallow the cancellation
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        with contextlib.suppress(asyncio.CancelledError):
            task.result()
