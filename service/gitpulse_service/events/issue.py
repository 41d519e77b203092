"""Issue events, confidential ones included, and those of other work items: tasks, incidents, epics."""

from __future__ import annotations

import msgspec

from gitpulse_service.events.project import Id, ProjectEvent
from gitpulse_service.events.timestamps import Timestamp


class Label(msgspec.Struct, frozen=True, gc=False):
    """A label as an event describes it; REST gives its title alone."""

    title: str | None = None


class IssueAttributes(msgspec.Struct, frozen=True, gc=False):
    """The issue after the event."""

    id: Id
    iid: Id | None = None
    project_id: Id | None = None
    author_id: Id | None = None
    type: str | None = None
    """`Issue`, `Incident`, `Task`, …; in REST `ISSUE`. Not sent before GitLab 17.2."""
    state: str | None = None
    """`opened` or `closed`."""
    action: str | None = None
    labels: tuple[Label | str, ...] | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    closed_at: Timestamp | None = None
    """Null while it is open, and again after it is reopened."""


class Issue(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """Something happened to an issue or another work item."""

    object_kind: str | None = None
    object_attributes: IssueAttributes
    labels: tuple[Label, ...] | None = None

    @property
    def gitlab_project_id(self) -> int | None:
        """The project's id on its GitLab, None where the body does not say; an epic has none."""
        return super().gitlab_project_id or self.object_attributes.project_id

    @property
    def type(self) -> str | None:
        """As `Issue`, `Incident`, `Test Case`."""
        if told := self.object_attributes.type:
            return told.replace("_", " ").title()
        return None if self.object_kind == "work_item" else "Issue"

    @property
    def label_titles(self) -> list[str]:
        """Sorted."""
        labels = self.labels if self.labels is not None else self.object_attributes.labels or ()
        titles = (label if isinstance(label, str) else label.title for label in labels)
        return sorted({title for title in titles if title})

    @property
    def closed_at(self) -> Timestamp | None:
        """When it was closed, as far as this event knows."""
        it = self.object_attributes
        return it.closed_at or (it.updated_at if it.action == "close" else None)

    @property
    def reopened_at(self) -> Timestamp | None:
        """When it was opened again, where that is what happened."""
        it = self.object_attributes
        return it.updated_at if it.action == "reopen" else None
