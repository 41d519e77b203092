"""Serves a world (API, control doors, plain page): in another program's event loop, or as a program of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim import control, page
from gitpulse_sim.api import deliveries, hooks, oauth, places, repository, work
from gitpulse_sim.api.call import Refused
from gitpulse_sim.api.door import Door, refused
from gitpulse_sim.control import Control
from gitpulse_sim.deliver import Post, delivering
from gitpulse_sim.errors import CannotListen, SimulatorError
from gitpulse_sim.forge import Forge
from gitpulse_sim.oauth import Provider
from gitpulse_sim.seed import demo_world
from gitpulse_sim.world import World

PORT = 8929


@contextlib.asynccontextmanager
async def serving(
    world: World, *, host: str = "127.0.0.1", port: int = PORT, url: str = "", post: Post | None = None
) -> AsyncIterator[Forge]:
    """Serves the world until the block ends; yields the doors through which it changes.

    `port` 0 takes a free one, which is then in `world.url`; `url` is the instance's base URL where it is not the
    address itself; `post` takes the deliveries where they are not to be sent. Raises CannotListen.
    """
    listener = _listen(host, port)
    world.url = url.rstrip("/") or f"http://{_in_url(host)}:{listener.getsockname()[1]}"
    app = create_app(world, post)
    server = _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, date_header=False, lifespan="on", timeout_graceful_shutdown=2
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        await server.up.wait()
        yield app.state.forge
    finally:
        server.should_exit = True
        await task
        listener.close()


def run(
    *, host: str = "127.0.0.1", port: int = PORT, url: str = "", ready: Callable[[World], None] = lambda _: None
) -> None:
    """Serves the demo's world until SIGINT or SIGTERM. Raises CannotListen, GitFailed."""

    async def until_told() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with serving(demo_world(), host=host, port=port, url=url) as forge:
            ready(forge.world)
            await stop.wait()

    asyncio.run(until_told())


class _Server(uvicorn.Server):
    """uvicorn without its hands on the process's signals; says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio sets TCP_NODELAY only then, and each small answer would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # until then another program may bind it too
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another address with --host and --port"
        ) from error
    return listener


def _in_url(host: str) -> str:
    """A wildcard address is no destination, and IPv6 wants brackets."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host


def create_app(world: World, post: Post | None = None) -> Starlette:
    """The ASGI application; `app.state.forge` and `app.state.control` are made when it starts."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with delivering(world, post) as engine:
            app.state.forge = Forge(world, engine)
            app.state.control = Control(app.state.forge)
            app.state.provider = Provider(world)
            yield
            await app.state.control.aclose()

    routes = [
        Route("/", page.front_page),
        *control.routes(),
        *oauth.routes(),
        *places.routes(),
        *repository.routes(),
        *work.routes(),
    ]
    for base in ("/projects/{id}", "/groups/{id}"):
        routes += hooks.routes(base) + deliveries.routes(base)
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Door, instance=world.instance)],
        exception_handlers={404: _unknown, 405: _unknown, Refused: refused, SimulatorError: refused},
    )


async def _unknown(_: Request, __: Exception) -> Response:
    """Grape's words for a path that is none."""
    return JSONResponse({"error": "404 Not Found"}, 404)
