"""Note events: what somebody wrote on a merge request, an issue, a commit or a snippet."""

from __future__ import annotations

import msgspec

from gitpulse_service.events.project import Id, ProjectEvent
from gitpulse_service.events.timestamps import Timestamp


class NoteAttributes(msgspec.Struct, frozen=True, gc=False):
    """The note after the event, without its text."""

    id: Id
    project_id: Id | None = None
    author_id: Id | None = None
    noteable_type: str | None = None
    """`MergeRequest`, `Issue`, `Commit`, `Snippet`, …"""
    noteable_id: Id | None = None
    """GitLab's global id of what it is on; a commit has none."""
    created_at: Timestamp | None = None
    system: bool | None = None
    """Whether the machine wrote it."""


class Note(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """Something was written, or changed."""

    object_attributes: NoteAttributes

    @property
    def gitlab_project_id(self) -> int | None:
        """The project's id on its GitLab, None where the body does not say; one on an epic has none."""
        return super().gitlab_project_id or self.object_attributes.project_id
