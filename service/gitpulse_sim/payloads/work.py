"""Merge requests, issues (and other work items), and the notes on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gitpulse_sim.frame import Data, InProject, project_data, repository_data
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import Issue, MergeRequest, Note

MERGED_AT_SINCE = (19, 0)
"""[unverified] which version added `merged_at`; it is in the documentation of 19.x and absent in January 2026."""
ACTIONED_AT_SINCE = (18, 8)
"""[unverified] which version added `actioned_at` and `system_action`; both were in use by January 2026."""

Changes = Mapping[str, object] | None

_SHARED = "id iid title description author_id=author.id state state_id created_at updated_at labels "
_SHARED += "milestone_id:null time_estimate:0 total_time_spent:0 time_change:0"
_ISSUE = 'type confidential closed_at due_date:null weight:null health_status:null severity:"unknown"'
_MERGE_REQUEST = (
    "source_branch target_branch draft:false work_in_progress:false prepared_at=created_at merge_commit_sha "
    "squash_commit_sha last_commit last_edited_at:null merge_user_id:null blocking_discussions_resolved:true "
    'first_contribution:false merge_status:"can_be_merged"'
)
"""`merge_user_id` is null even in a real `merge` event: the top-level `user` merged."""


def merge_request(
    frame: InProject, actor: User, subject: MergeRequest, action: str, *, changes: Changes = None, oldrev: str = ""
) -> Data:
    """`Merge Request Hook`. `oldrev` is set only when code was pushed."""
    attributes = attributes_of(frame, subject) | {"action": action}
    if oldrev:
        attributes["oldrev"] = oldrev
    if frame.release >= ACTIONED_AT_SINCE:
        moment = max(subject.updated_at, subject.actioned_at or subject.updated_at)
        attributes |= {"system": False, "actioned_at": frame.shown(moment)}
    data = _event(frame, actor, subject, "merge_request", attributes, changes)
    if subject.reviewers:
        data["reviewers"] = [
            frame.shown(user) | {"state": "approved" if user in subject.approved_by else "unreviewed"}
            for user in subject.reviewers
        ]
    return data


def issue(frame: InProject, actor: User, subject: Issue, action: str, *, changes: Changes = None) -> Data:
    """`Issue Hook`, or `Confidential Issue Hook`; other work items than issues have an `object_kind` of their own."""
    kind = "issue" if subject.type == "Issue" else "work_item"
    data = _event(frame, actor, subject, kind, attributes_of(frame, subject) | {"action": action}, changes)
    return data | {"event_type": "confidential_issue" if subject.confidential else "issue"}


def _event(
    frame: InProject, actor: User, subject: MergeRequest | Issue, kind: str, attributes: Data, changes: Changes
) -> Data:
    data: Data = {
        "object_kind": kind,
        "event_type": kind,
        "user": frame.shown(actor),
        "project": project_data(frame),
        "object_attributes": attributes,
        "labels": attributes["labels"],
        "changes": changes or {},
        "repository": repository_data(frame),
    }
    # `assignees`, as `reviewers`, is absent when there is nobody
    return data | (frame.fields(subject, "assignees") if subject.assignees else {})


def attributes_of(frame: InProject, subject: MergeRequest | Issue) -> Data:
    """The thing itself, as its own events and notes on it carry it."""
    shared = frame.fields(subject, _SHARED) | {
        "assignee_id": subject.assignees[0].id if subject.assignees else None,
        "assignee_ids": [user.id for user in subject.assignees],
        "url": frame.page(subject.page),
    }
    if isinstance(subject, Issue):
        return shared | frame.fields(subject, _ISSUE) | {"project_id": frame.project.id}
    project, sha = frame.project, subject.last_commit.sha
    table = _MERGE_REQUEST + (" merged_at" if frame.release >= MERGED_AT_SINCE else "")
    return (
        shared
        | frame.fields(subject, table)
        | {
            "reviewer_ids": [user.id for user in subject.reviewers],
            "source_project_id": project.id,
            "target_project_id": project.id,
            "source": project_data(frame),
            "target": project_data(frame),
            "detailed_merge_status": "mergeable" if subject.state == "opened" else "not_open",
            "head_pipeline_id": next((one.id for one in reversed(project.pipelines) if one.commit.sha == sha), None),
            "target_branch_protected": subject.target_branch == project.default_branch,
        }
    )


def note(frame: InProject, subject: Note) -> Data:
    """`Note Hook`, or for an internal note the confidential one. The target stands beside it, under its own name."""
    target = subject.target
    page = f"commit/{target.sha}" if isinstance(target, Commit) else target.page
    data: Data = {
        "object_kind": "note",
        "event_type": "confidential_note" if subject.internal else "note",
        "user": frame.shown(subject.author),
        "project_id": frame.project.id,
        "project": project_data(frame),
        "object_attributes": {
            **frame.fields(
                subject,
                "id note=body description=body noteable_type author_id=author.id internal created_at "
                'updated_at=created_at system:false action:"create" type:null resolved_at:null resolved_by_id:null '
                "position:null line_code:null attachment:null st_diff:null",
            ),
            "noteable_id": None if isinstance(target, Commit) else target.id,
            "commit_id": target.sha if isinstance(target, Commit) else None,
            "project_id": frame.project.id,
            "discussion_id": hashlib.sha1(f"note {subject.id}".encode(), usedforsecurity=False).hexdigest(),
            "url": f"{frame.page(page)}#note_{subject.id}",
        },
        "repository": repository_data(frame),
    }
    if isinstance(target, Commit):
        return data | {"commit": frame.shown(target)}
    return data | {"issue" if isinstance(target, Issue) else "merge_request": attributes_of(frame, target)}
