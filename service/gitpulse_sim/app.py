"""The web application: the API, the control doors and the plain page, around one world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim import control, page
from gitpulse_sim.api import deliveries, hooks, places, work
from gitpulse_sim.api.door import RawPaths
from gitpulse_sim.control import Control
from gitpulse_sim.deliver import delivering
from gitpulse_sim.forge import Forge
from gitpulse_sim.world import World


def create_app(world: World) -> Starlette:
    """The ASGI application; `app.state.forge` and `app.state.control` are made when it starts."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with delivering(world) as engine:
            app.state.forge = Forge(world, engine)
            app.state.control = Control(app.state.forge)
            yield
            await app.state.control.aclose()

    routes = [
        Route("/", page.front_page),
        *control.routes(),
        *places.routes(),
        *work.routes(),
    ]
    for base in ("/projects/{id}", "/groups/{id}"):
        routes += hooks.routes(base) + deliveries.routes(base)
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(RawPaths)],
        exception_handlers={404: _unknown, 405: _unknown},
    )


async def _unknown(_: Request, __: Exception) -> Response:
    """Grape's words for a path that is none."""
    return JSONResponse({"error": "404 Not Found"}, 404)
