"""The dashboard as an application of its own, to be mounted at `/`: pages made here, from the query API's own parts."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from gitpulse_service.dashboard import about, behind, hooks, hours, merge_requests, overview, pipelines
from gitpulse_service.dashboard.config import SignIn
from gitpulse_service.dashboard.headers import locked_down
from gitpulse_service.dashboard.pages import STATIC, STATIC_URL, add_handlers
from gitpulse_service.metrics_api import Parts


def create_dashboard(parts: Parts, sign_in: SignIn | None = None) -> FastAPI:
    """The application. Whoever made the parts runs `parts.hub`, and closes what they stand on.

    Without `sign_in` nobody can, and `door` says who sees the pages all the same.
    """
    app = FastAPI(title="GitPulse", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts, app.state.sign_in = parts, sign_in
    app.add_middleware(locked_down, forever=STATIC_URL)
    add_handlers(app)
    # Pages are not compressed: beside what a request brings they may hold what only the viewer is to know.
    app.mount(STATIC_URL, GZipMiddleware(StaticFiles(directory=STATIC)))
    for part in (overview, merge_requests, pipelines, hours, about, hooks, behind):
        app.include_router(part.router)
    if sign_in is not None:
        from gitpulse_service.dashboard.signin import add_sign_in  # noqa: PLC0415 -- half a second of imports

        add_sign_in(app, sign_in, parts)
    return app
