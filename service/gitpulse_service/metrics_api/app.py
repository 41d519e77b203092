"""The query API as an application of its own, to be mounted at `/api/v1`: numbers straight from the store."""

from __future__ import annotations

from fastapi import FastAPI

from gitpulse_service.metrics_api import numbers, places
from gitpulse_service.metrics_api.caller import Parts
from gitpulse_service.metrics_api.problems import add_handlers, described

PREFIX = "/api/v1"


def create_api(parts: Parts) -> FastAPI:
    """The application. Whoever made the parts runs `parts.hub`, and closes what they stand on."""
    app = FastAPI(
        title="GitPulse",
        version="1",
        description="Team metrics from GitLab; docs/api.md shows how to ask, docs/metrics.md what each number means.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=described(),
    )
    app.state.parts = parts
    add_handlers(app)
    # The order matters: `projects/{project:path}` matches what stands behind it too.
    for router in (numbers.router, places.router, places.stream):
        app.include_router(router)
    return app
