"""How a page is made: templates, boards of cards, and errors as pages of their own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.templating import Jinja2Templates

from gitpulse_service.dashboard import shown
from gitpulse_service.dashboard.cards import Card, Tile, together
from gitpulse_service.dashboard.door import Closed, Viewer
from gitpulse_service.dashboard.headers import ALWAYS, PAGE
from gitpulse_service.dashboard.view import DEFAULT, RANGES, View, href
from gitpulse_service.metrics_api import problems
from gitpulse_service.metrics_api.answers import CSV, as_csv
from gitpulse_service.metrics_api.meanings import meanings
from gitpulse_service.metrics_api.problems import Problem

HERE = Path(__file__).parent
STATIC = HERE / "static"
Cards: TypeAlias = Mapping[str, Callable[[], Awaitable[Card]]]
"""By their ids, each made when it is wanted."""
Tiles: TypeAlias = Callable[[], Awaitable[list[Tile]]]


def _digest() -> str:
    """Changes with any of the static files."""
    files = sorted(it for it in STATIC.rglob("*") if it.is_file())
    return hashlib.blake2b(b"".join(it.read_bytes() for it in files), digest_size=6).hexdigest()


STATIC_URL = f"/static/{_digest()}"

_templates = Jinja2Templates(HERE / "templates")
_templates.env.trim_blocks = _templates.env.lstrip_blocks = True
_templates.env.globals.update(
    static=STATIC_URL, href=href, shown=shown, meanings=meanings, RANGES=RANGES, DEFAULT=DEFAULT,
    NAV=(
        ("/", "Overview"), ("/merge-requests", "Merge requests"), ("/pipelines", "Pipelines"),
        ("/hours", "Hours"), ("/teams", "Teams"), ("/people", "People"), ("/projects", "Projects"),
        ("/hooks", "Hooks"), ("/definitions", "Definitions"),
    ),
)  # fmt: skip


def page(request: Request, name: str, viewer: Viewer | None, status: int = HTTPStatus.OK, **more: Any) -> Response:  # noqa: ANN401
    """A page of the template of this name."""
    return _templates.TemplateResponse(request, f"{name}.html", {"viewer": viewer, **more}, status)


async def _none() -> list[Tile]:
    return []


async def board(
    view: View, title: str, cards: Cards, tiles: Tiles = _none, *, name: str = "board",
    **more: Any,  # noqa: ANN401
) -> Response:  # fmt: skip
    """A page of key figures and cards, or one of the cards as CSV. Raises Problem and StoreUnavailable."""
    if view.asked.csv is not None:
        return await _csv(view.asked.csv, cards)
    choices, figures, *made = await together(_choices(view), tiles(), *(make() for make in cards.values()))
    by_id = dict(zip(cards, made, strict=True))
    return page(view.request, name, view.viewer, view=view, title=title, tiles=figures, cards=by_id, **choices, **more)


async def _csv(wanted: str, cards: Cards) -> Response:
    if wanted not in cards:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no card {wanted} on this page")
    card = await cards[wanted]()
    headers = {"Content-Disposition": f'attachment; filename="{wanted}.csv"'}
    return Response(as_csv(card.table(), [column.name for column in card.columns]), 200, headers, CSV)


async def _choices(view: View) -> dict[str, Any]:
    """What the filters offer."""
    projects, teams = await asyncio.gather(view.caller.projects(), view.caller.zones())
    return {"teams": [*teams], "projects": [it.path or str(it.gitlab_id) for it in projects]}


def add_handlers(app: FastAPI) -> None:
    """Makes every error of the application a page."""

    def show(request: Request, it: Problem) -> Response:
        answer = page(request, "problem", None, it.status, problem=it)
        # These headers too: what shows a defect stands outside of it.
        answer.headers.update({**ALWAYS, "Cache-Control": PAGE, **(it.headers or {})})
        return answer

    problems.add_handlers(app, show)

    @app.exception_handler(Closed)
    async def closed(request: Request, it: Closed) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        asked = path + (f"?{request.url.query}" if request.url.query else "")  # who signs in there comes back to it
        to = "/" if path.startswith(("/signin", "/signout")) else asked
        answer = page(request, "closed", None, it.status, closed=it, next=to)
        answer.headers.update(it.headers or {})
        return answer

    @app.exception_handler(HTTPException)
    async def no_page(request: Request, error: HTTPException) -> Response:
        detail = f"There is no page {request.url.path}."
        return show(request, Problem(HTTPStatus(error.status_code), detail, error.headers))
