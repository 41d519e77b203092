"""Release events; a release is known by its tag."""

from __future__ import annotations

from gitpulse_service.events.project import ProjectEvent
from gitpulse_service.events.timestamps import Timestamp


class Release(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """A release was made, changed or deleted."""

    tag: str
    created_at: Timestamp
    name: str | None = None
    released_at: Timestamp | None = None
    action: str | None = None
    """`create`, `update` or `delete`."""
