"""Runs the receiver on uvicorn, alone or beside other things in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Iterator

import uvicorn
import uvloop

from gitpulse_service import logs, metrics
from gitpulse_service.errors import CannotServe
from gitpulse_service.receiver.app import METRICS_PORT, Receiver, create_app
from gitpulse_service.receiver.protocol import Protocol
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
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS calls it infinite, and refuses that
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the usual 1,024 are fewer than a burst's connections
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
            stack.enter_context(metrics.exposed("receiver", metrics_port, host))
        config = uvicorn.Config(
            app,
            http=Protocol,
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
        await _Server(app, config, stop).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Looks after its connections; with `stop`, it leaves signals to whoever runs the event loop."""

    def __init__(self, app: Receiver, config: uvicorn.Config, stop: asyncio.Event | None) -> None:
        super().__init__(config)
        self._app, self._stop = app, stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with contextlib.nullcontext() if self._stop else super().capture_signals():
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.stopping()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:  # ten times a second
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.sweep()
        return (self._stop is not None and self._stop.is_set()) or await super().on_tick(counter)


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
