"""The first page: what is happening now."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import page

router = APIRouter()


@router.get("/")
async def overview(request: Request, viewer: AnyViewer) -> Response:
    """All projects."""
    return page(request, "overview", viewer, projects=await viewer.caller.projects())
