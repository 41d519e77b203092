"""Issue and work item events."""

from __future__ import annotations

from collections.abc import Mapping

from gitpulse_sim.payloads.common import (
    Data,
    Frame,
    label_data,
    project_data,
    repository_data,
    user_data,
    users_data,
)
from gitpulse_sim.people import User
from gitpulse_sim.work import Issue
from gitpulse_sim.world import Project


def issue(
    frame: Frame,
    project: Project,
    actor: User,
    subject: Issue,
    action: str | None,
    *,
    changes: Mapping[str, object] | None = None,
) -> Data:
    """`Issue Hook`, or `Confidential Issue Hook`; other work items than issues have an `object_kind` of their own."""
    attributes = attributes_of(frame, project, subject)
    if action:
        attributes["action"] = action
    data: Data = {
        "object_kind": "issue" if subject.type == "Issue" else "work_item",
        "event_type": "confidential_issue" if subject.confidential else "issue",
        "user": user_data(actor),
        "project": project_data(frame, project),
        "object_attributes": attributes,
        "labels": attributes["labels"],
        "changes": dict(changes or {}),
        "repository": repository_data(frame, project),
    }
    if subject.assignees:
        data["assignees"] = users_data(subject.assignees)
    return data


def attributes_of(frame: Frame, project: Project, subject: Issue) -> Data:
    """The issue itself, as its own events and notes on it carry it."""
    kind = "issues" if subject.type == "Issue" else "work_items"
    return {
        "id": subject.id,
        "iid": subject.iid,
        "title": subject.title,
        "description": subject.description,
        "type": subject.type,
        "author_id": subject.author.id,
        "assignee_id": subject.assignees[0].id if subject.assignees else None,
        "assignee_ids": [user.id for user in subject.assignees],
        "project_id": project.id,
        "state": subject.state,
        "state_id": 1 if subject.state == "opened" else 2,
        "confidential": subject.confidential,
        "created_at": frame.at(subject.created_at),
        "updated_at": frame.at(subject.updated_at),
        "closed_at": frame.at(subject.closed_at),
        "due_date": None,
        "milestone_id": None,
        "weight": None,
        "health_status": None,
        "severity": "unknown",
        "time_estimate": 0,
        "total_time_spent": 0,
        "time_change": 0,
        "labels": [label_data(frame, project, label) for label in subject.labels],
        "url": frame.page(project, f"{kind}/{subject.iid}"),
    }
