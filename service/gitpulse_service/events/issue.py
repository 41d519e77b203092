"""Issue events, confidential ones included. Tasks, incidents and epics come as `work_item` and are not counted yet."""

from __future__ import annotations

import msgspec

from gitpulse_service.events.project import Id, ProjectEvent
from gitpulse_service.events.timestamps import Timestamp


class IssueAttributes(msgspec.Struct, frozen=True, gc=False):
    """The issue after the event."""

    id: Id
    iid: Id | None = None
    project_id: Id | None = None
    state: str | None = None
    """`opened` or `closed`."""
    action: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    closed_at: Timestamp | None = None
    """Null while it is open, and again after it is reopened."""


class Issue(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """Something happened to an issue."""

    object_attributes: IssueAttributes

    @property
    def gitlab_project_id(self) -> int | None:
        """The project's id on its GitLab, None where the body does not say."""
        return super().gitlab_project_id or self.object_attributes.project_id

    @property
    def closed_at(self) -> Timestamp | None:
        """When it was closed, as far as this event knows."""
        it = self.object_attributes
        return it.closed_at or (it.updated_at if it.action == "close" else None)
