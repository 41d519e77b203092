"""The dashboard as an application of its own, to be mounted at `/`: pages made here, from the query API's own parts."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from gitpulse_service.dashboard import overview
from gitpulse_service.dashboard.pages import HERE, add_handlers
from gitpulse_service.metrics_api import Parts


def create_dashboard(parts: Parts) -> FastAPI:
    """The application. Whoever made the parts runs `parts.hub`, and closes what they stand on."""
    app = FastAPI(title="GitPulse", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts
    add_handlers(app)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(overview.router)
    return app
