"""Merge request events: one for each thing that is done to a merge request, with its whole state."""

from __future__ import annotations

import msgspec

from gitpulse_service.events.project import Id, ProjectEvent
from gitpulse_service.events.timestamps import Timestamp

_APPROVALS = ("approval", "approved")
"""Actions: somebody approved, and it was not, or was, enough."""


class MergeRequestAttributes(msgspec.Struct, frozen=True, gc=False):
    """The merge request after the event."""

    id: Id
    iid: Id | None = None
    target_project_id: Id | None = None
    author_id: Id | None = None
    source_branch: str | None = None
    target_branch: str | None = None
    state: str | None = None
    """`opened`, `closed`, `merged` or `locked` (a moment while it is merged)."""
    action: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    actioned_at: Timestamp | None = None
    """When the action happened; `updated_at` may be older. Not sent by older GitLabs."""
    merged_at: Timestamp | None = None
    """Not sent before GitLab 19."""
    closed_at: Timestamp | None = None


class MergeRequest(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """Something happened to a merge request."""

    object_attributes: MergeRequestAttributes

    @property
    def gitlab_project_id(self) -> int | None:
        """The target project's id on its GitLab, None where the body does not say."""
        return super().gitlab_project_id or self.object_attributes.target_project_id

    @property
    def merged_at(self) -> Timestamp | None:
        """When it was merged, as far as this event knows.

        Only the event of the merge itself may stand in with its own time: `state` stays `merged` in every later one.
        """
        return self.object_attributes.merged_at or self._when("merge")

    @property
    def closed_at(self) -> Timestamp | None:
        """When it was closed without a merge, as far as this event knows."""
        return self.object_attributes.closed_at or self._when("close")

    @property
    def is_approval(self) -> bool:
        """Whether `user` approved it, at `actioned_at`."""
        return self.object_attributes.action in _APPROVALS

    @property
    def leaves_moment_open(self) -> bool:
        """Whether it tells of a merge or an approval and not, to the second, of its moment."""
        it = self.object_attributes
        return (it.state == "merged" and it.merged_at is None) or (self.is_approval and it.actioned_at is None)

    def _when(self, action: str) -> Timestamp | None:
        it = self.object_attributes
        return (it.actioned_at or it.updated_at) if it.action == action else None
