"""Runs the receiver on uvicorn, alone or beside other things in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import uvicorn
import uvloop

from gitpulse_service import logs, metrics
from gitpulse_service.errors import CannotServe
from gitpulse_service.receiver.app import METRICS_PORT, create_app
from gitpulse_service.settings import ServiceSettings

PORT = 8080
GRACE = 15
"""Seconds that a stopping server gives to deliveries it has begun to read. GitLab itself waits ten."""
KEEP_ALIVE = 75
"""Seconds that an idle connection stays open; longer than the proxy's in front, or it meets closed ones."""
BACKLOG = 4096
"""Connections that may wait to be accepted: a burst of a whole instance's pushes."""


def run(
    settings: ServiceSettings, *, host: str = "127.0.0.1", port: int = PORT, metrics_port: int | None = METRICS_PORT
) -> None:
    """Serves until a signal ends it. Raises CannotServe, SettingsError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # twice as fast as the standard loop
        runner.run(serve(settings, host=host, port=port, metrics_port=metrics_port))


async def serve(
    settings: ServiceSettings,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    metrics_port: int | None = METRICS_PORT,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves in this event loop, until `stop` is set or, without it, until a signal. Raises CannotServe, SettingsError.

    What has been read when it stops is answered first.
    """
    logs.configure()
    app = create_app(settings, metrics_port=None)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listening(host, port))
        if metrics_port is not None:
            stack.enter_context(metrics.exposed(metrics_port, host))
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )
        server = _Server(config) if stop else uvicorn.Server(config)
        watch = asyncio.create_task(_stop_when(server, stop)) if stop else None
        try:
            await server.serve(sockets=[listener])
        finally:
            if watch is not None:
                watch.cancel()


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _stop_when(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        raise CannotServe(f"{host} port {port}: {what}; choose another --port") from error
    # Inherited by every connection. An answer is two writes, and without this the second one waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
