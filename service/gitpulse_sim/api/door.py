"""Where a request comes in: faults first, then the token, then the handler; a refusal becomes an answer."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gitpulse_sim.api.call import Handler, Refused, open_call
from gitpulse_sim.errors import SimulatorError
from gitpulse_sim.faults import Fault
from gitpulse_sim.forge import Forge

PREFIX = "/api/v4"


def route(method: str, path: str, handler: Handler) -> Route:
    """One endpoint below `/api/v4`."""

    async def endpoint(request: Request) -> Response:
        forge: Forge = request.app.state.forge
        try:
            await _suffer(request, forge)
            return await handler(await open_call(request, forge))
        except Refused as refusal:
            return refusal.response()
        except SimulatorError as error:
            return Refused(400, {"error": str(error)}).response()

    return Route(PREFIX + path, endpoint, methods=[method])


class RawPaths:
    """Routes by the path as it was sent, so that `acme%2Fwebsite` is one part of it, as in GitLab."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self._app(scope, receive, send)


async def _suffer(request: Request, forge: Forge) -> None:
    path = request.url.path
    fault = next((fault for fault in forge.world.faults if fault.strikes(request.method, path)), None)
    if fault is None:
        return
    await asyncio.sleep(fault.delay)
    if fault.status:
        raise Refused(fault.status, _words(fault.status), _headers(fault))


def _words(status: int) -> dict[str, object] | str:
    known: dict[int, dict[str, object] | str] = {
        401: {"message": "401 Unauthorized"},
        403: {"message": "403 Forbidden"},
        404: {"message": "404 Not found"},
        429: "Retry later\n",
        500: {"message": "500 Internal Server Error"},
    }
    return known.get(status, f"GitLab is not responding ({status})\n")


def _headers(fault: Fault) -> dict[str, str]:
    """Of a throttle with Retry-After, the whole set; the bare form is what application limits answer."""
    if fault.retry_after is None:
        return {}
    headers = {"Retry-After": str(fault.retry_after)}
    if fault.status == 429:
        reset = int(time.time()) + fault.retry_after
        headers |= {
            "RateLimit-Limit": "60",
            "RateLimit-Name": "throttle_authenticated_api",
            "RateLimit-Observed": "61",
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(reset),
            "RateLimit-ResetTime": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(reset)),
        }
    return headers
