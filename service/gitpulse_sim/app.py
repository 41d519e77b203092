"""The web application: the API, the control doors and the plain page, around one world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware

from gitpulse_sim.api import hooks, identity
from gitpulse_sim.api.door import RawPaths
from gitpulse_sim.deliver import Engine
from gitpulse_sim.forge import Forge
from gitpulse_sim.world import World


def create_app(world: World) -> Starlette:
    """The ASGI application; `app.state.forge` is made when it starts."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with Engine(world) as engine:
            app.state.forge = Forge(world, engine)
            yield

    routes = [*identity.routes()]
    for base in ("/projects/{id}", "/groups/{id}"):
        routes += hooks.routes(base)
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(RawPaths)])
