"""The page of a closed door."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from gitpulse_service.dashboard.door import Closed
from gitpulse_service.dashboard.pages import page


def add_closed(app: FastAPI) -> None:
    """Makes that page of every `Closed`; who signs in from there comes back to what they asked for."""

    @app.exception_handler(Closed)
    async def closed(request: Request, it: Closed) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        asked = path + (f"?{request.url.query}" if request.url.query else "")
        to = "/" if path.startswith(("/signin", "/signout")) else asked
        answer = page(request, "closed", None, it.status, closed=it, next=to)
        answer.headers.update(it.headers or {})
        return answer
