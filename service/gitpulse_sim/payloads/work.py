"""Merge requests, issues (and other work items), and the notes on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gitpulse_sim.frame import (
    Data,
    Frame,
    commit_data,
    label_data,
    project_data,
    repository_data,
    user_data,
    users_data,
)
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import Issue, MergeRequest, Note
from gitpulse_sim.world import Project

MERGED_AT_SINCE = (19, 0)
"""[unverified] which version added `merged_at`; it is in the documentation of 19.x and absent in January 2026."""
ACTIONED_AT_SINCE = (18, 8)
"""[unverified] which version added `actioned_at` and `system_action`; both were in use by January 2026."""

_SHARED = "id iid title description author_id=author.id state state_id created_at updated_at "
_SHARED += "milestone_id:null time_estimate:0 total_time_spent:0 time_change:0"


def merge_request(
    frame: Frame,
    project: Project,
    actor: User,
    subject: MergeRequest,
    action: str,
    *,
    changes: Mapping[str, object] | None = None,
    oldrev: str | None = None,
) -> Data:
    """`Merge Request Hook`. `oldrev` is set only when code was pushed."""
    data = _event(frame, project, actor, subject, "merge_request", action, changes)
    attributes = data["object_attributes"]
    assert isinstance(attributes, dict)
    if oldrev:
        attributes["oldrev"] = oldrev
    if frame.release >= ACTIONED_AT_SINCE:
        moment = max(subject.updated_at, subject.actioned_at or subject.updated_at)
        attributes |= {"system": False, "actioned_at": frame.at(moment)}
    if subject.reviewers:
        data["reviewers"] = [
            user_data(user) | {"state": "approved" if user in subject.approved_by else "unreviewed"}
            for user in subject.reviewers
        ]
    return data


def issue(
    frame: Frame,
    project: Project,
    actor: User,
    subject: Issue,
    action: str,
    *,
    changes: Mapping[str, object] | None = None,
) -> Data:
    """`Issue Hook`, or `Confidential Issue Hook`; other work items than issues have an `object_kind` of their own."""
    kind = "issue" if subject.type == "Issue" else "work_item"
    data = _event(frame, project, actor, subject, kind, action, changes)
    return data | {"event_type": "confidential_issue" if subject.confidential else "issue"}


def _event(
    frame: Frame,
    project: Project,
    actor: User,
    subject: MergeRequest | Issue,
    kind: str,
    action: str,
    changes: Mapping[str, object] | None,
) -> Data:
    attributes = attributes_of(frame, project, subject) | {"action": action}
    data: Data = {
        "object_kind": kind,
        "event_type": kind,
        "user": user_data(actor),
        "project": project_data(frame, project),
        "object_attributes": attributes,
        "labels": attributes["labels"],
        "changes": dict(changes or {}),
        "repository": repository_data(frame, project),
    }
    if subject.assignees:  # as `reviewers`, absent when there is nobody
        data["assignees"] = users_data(subject.assignees)
    return data


def attributes_of(frame: Frame, project: Project, subject: MergeRequest | Issue) -> Data:
    """The thing itself, as its own events and notes on it carry it."""
    shared = frame.fields(subject, _SHARED) | {
        "assignee_id": subject.assignees[0].id if subject.assignees else None,
        "assignee_ids": [user.id for user in subject.assignees],
        "labels": [label_data(frame, project, label) for label in subject.labels],
        "url": frame.page(project, subject.page),
    }
    if isinstance(subject, Issue):
        return shared | _of_issue(frame, project, subject)
    return shared | _of_merge_request(frame, project, subject)


def _of_issue(frame: Frame, project: Project, subject: Issue) -> Data:
    table = 'type confidential closed_at due_date:null weight:null health_status:null severity:"unknown"'
    return frame.fields(subject, table) | {"project_id": project.id}


def _of_merge_request(frame: Frame, project: Project, subject: MergeRequest) -> Data:
    """`merge_user_id` is null even in a real `merge` event: the top-level `user` merged."""
    sha = subject.last_commit.sha
    attributes = frame.fields(
        subject,
        "source_branch target_branch draft work_in_progress=draft prepared_at=created_at merge_commit_sha "
        "squash_commit_sha last_edited_at:null merge_user_id:null blocking_discussions_resolved:true "
        'first_contribution:false merge_status:"can_be_merged"',
    ) | {
        "reviewer_ids": [user.id for user in subject.reviewers],
        "source_project_id": project.id,
        "target_project_id": project.id,
        "source": project_data(frame, project),
        "target": project_data(frame, project),
        "detailed_merge_status": "mergeable" if subject.state == "opened" else "not_open",
        "head_pipeline_id": next((one.id for one in reversed(project.pipelines) if one.commit.sha == sha), None),
        "last_commit": commit_data(frame, project, subject.last_commit),
        "target_branch_protected": subject.target_branch == project.default_branch,
    }
    return attributes | (frame.fields(subject, "merged_at") if frame.release >= MERGED_AT_SINCE else {})


def note(frame: Frame, project: Project, subject: Note) -> Data:
    """`Note Hook`, or for an internal note the confidential one. The target stands beside it, under its own name."""
    target = subject.target
    page = f"commit/{target.sha}" if isinstance(target, Commit) else target.page
    data: Data = {
        "object_kind": "note",
        "event_type": "confidential_note" if subject.internal else "note",
        "user": user_data(subject.author),
        "project_id": project.id,
        "project": project_data(frame, project),
        "object_attributes": {
            **frame.fields(
                subject,
                "id note=body description=body noteable_type author_id=author.id internal created_at "
                'updated_at=created_at system:false action:"create" type:null resolved_at:null resolved_by_id:null '
                "position:null line_code:null attachment:null st_diff:null",
            ),
            "noteable_id": None if isinstance(target, Commit) else target.id,
            "commit_id": target.sha if isinstance(target, Commit) else None,
            "project_id": project.id,
            "discussion_id": hashlib.sha1(f"note {subject.id}".encode(), usedforsecurity=False).hexdigest(),
            "url": f"{frame.page(project, page)}#note_{subject.id}",
        },
        "repository": repository_data(frame, project),
    }
    if isinstance(target, Commit):
        return data | {"commit": commit_data(frame, project, target)}
    name = "issue" if isinstance(target, Issue) else "merge_request"
    return data | {name: attributes_of(frame, project, target)}
