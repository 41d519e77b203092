"""Where a request comes in: faults first, then the token, then the handler; what it gives becomes an answer."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gitpulse_sim.api.call import Call, Handler, Refused, open_call
from gitpulse_sim.instance import Instance

PREFIX = "/api/v4"
TOTALS_UP_TO = 10_000
"""Above that many rows GitLab gives no totals."""


def route(method: str, path: str, handler: Handler) -> Route:
    """One endpoint below `/api/v4`."""

    async def endpoint(request: Request) -> Response:
        await suffer(request)
        call = await open_call(request)
        answer = handler(call)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Response):
            return answer
        if answer is None:
            return Response(status_code=204)
        return paged(call, answer) if isinstance(answer, Sequence) else JSONResponse(answer)

    return Route(PREFIX + path, endpoint, methods=[method])


class Door:
    """Routes by the path as it was sent, so that `acme%2Fwebsite` is one part of it, as in GitLab.

    Each answer says what time the instance believes that it is.
    """

    def __init__(self, app: ASGIApp, instance: Instance) -> None:
        self._app, self._instance = app, instance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = formatdate(time.time() + self._instance.signature_clock_skew, usegmt=True)
                message = {**message, "headers": [*message["headers"], (b"date", now.encode())]}
            await send(message)

        await self._app(scope, receive, dated)


async def refused(_: Request, error: Exception) -> Response:
    """What becomes of a request that has raised Refused, or a SimulatorError."""
    return error.response if isinstance(error, Refused) else JSONResponse({"error": str(error)}, 400)


async def suffer(request: Request) -> None:
    """Whatever fault is meant for this request. Raises Refused."""
    method, path, faults = request.method, request.url.path, request.app.state.forge.world.faults
    fault = next((fault for fault in faults if fault.strikes(method, path)), None)
    if fault is None:
        return
    await asyncio.sleep(fault.delay)
    if fault.status:
        raise Refused(fault.status, fault.body, fault.headers)


def paged(
    call: Call, rows: Sequence[Any], show: Callable[[Any], object] = lambda row: row, *, largest: int = 100
) -> Response:
    """One page of the rows (`page`, `per_page`), each as `show` writes it, with the headers that lead to the others."""
    page, size = call.page(largest)
    shown = [show(row) for row in rows[(page - 1) * size : page * size]]
    return answer_page(call, shown, more=page * size < len(rows), total=len(rows), largest=largest)


def answer_page(
    call: Call, shown: Sequence[object], *, more: bool, total: int | None = None, largest: int = 100
) -> Response:
    """The rows of the page that was asked for. Without a total, as of commits, none is told and no last page."""
    page, size = call.page(largest)
    pages = None if total is None else max(1, -(-total // size))
    following = page + 1 if more else None
    headers = {
        "x-page": str(page),
        "x-per-page": str(size),
        "x-next-page": str(following or ""),
        "x-prev-page": str(page - 1) if page > 1 else "",
        "link": _links(call, size, {"prev": page - 1 or None, "next": following, "first": 1, "last": pages}),
    }
    if total is not None and total <= TOTALS_UP_TO:
        headers |= {"x-total": str(total), "x-total-pages": str(pages)}
    return JSONResponse(shown, headers=headers)


def _links(call: Call, size: int, wanted: dict[str, int | None]) -> str:
    base = f"{call.world.url}{call.request.scope['path']}"
    kept = [(key, value) for key, value in call.request.query_params.multi_items() if key not in ("page", "per_page")]

    def link(number: int, relation: str) -> str:
        return f'<{base}?{urlencode([*kept, ("page", number), ("per_page", size)])}>; rel="{relation}"'

    return ", ".join(link(number, relation) for relation, number in wanted.items() if number)
