"""Deployment events: one for each change of a deployment's status."""

from __future__ import annotations

from gitpulse_service.events.project import Id, ProjectEvent
from gitpulse_service.events.timestamps import Timestamp


class Deployment(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """A deployment began or ended."""

    deployment_id: Id
    status: str | None = None
    status_changed_at: Timestamp | None = None
    environment: str | None = None
    environment_tier: str | None = None
    """`production`, `staging`, `testing`, `development` or `other`."""

    @property
    def succeeded_at(self) -> Timestamp | None:
        """When it succeeded, where it did."""
        return self.status_changed_at if self.status == "success" else None
