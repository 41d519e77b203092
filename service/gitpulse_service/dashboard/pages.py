"""How a page is made: templates, and errors as pages of their own."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.templating import Jinja2Templates

from gitpulse_service.dashboard.door import Viewer
from gitpulse_service.metrics_api.problems import Problem

HERE = Path(__file__).parent

_templates = Jinja2Templates(HERE / "templates")


def page(request: Request, name: str, viewer: Viewer | None, status: int = HTTPStatus.OK, **shown: Any) -> Response:  # noqa: ANN401
    """A page of the template of this name."""
    return _templates.TemplateResponse(request, f"{name}.html", {"viewer": viewer, **shown}, status)


def add_handlers(app: FastAPI) -> None:
    """Makes every error of the application a page."""

    @app.exception_handler(Problem)
    async def problem(request: Request, it: Problem) -> Response:
        return page(request, "problem", None, it.status, problem=it)
