"""Merge request events."""

from __future__ import annotations

from collections.abc import Mapping

from gitpulse_sim.payloads.common import (
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
from gitpulse_sim.work import MergeRequest
from gitpulse_sim.world import Project

STATE_IDS = {"opened": 1, "closed": 2, "merged": 3, "locked": 4}
MERGED_AT_SINCE = (19, 0)
"""[unverified] which version added `merged_at`; it is in the documentation of 19.x and absent in January 2026."""
ACTIONED_AT_SINCE = (18, 8)
"""[unverified] which version added `actioned_at` and `system_action`; both were in use by January 2026."""


def merge_request(
    frame: Frame,
    project: Project,
    actor: User,
    subject: MergeRequest,
    action: str | None,
    *,
    changes: Mapping[str, object] | None = None,
    oldrev: str | None = None,
) -> Data:
    """`Merge Request Hook`. `oldrev` is set only when code was pushed; `action` is missing in no real event."""
    attributes = attributes_of(frame, project, subject)
    if action:
        attributes["action"] = action
    if oldrev:
        attributes["oldrev"] = oldrev
    if frame.release >= ACTIONED_AT_SINCE:
        attributes |= {
            "system": False,
            "actioned_at": frame.at(max(subject.updated_at, subject.actioned_at or subject.updated_at)),
        }
    data: Data = {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": user_data(actor),
        "project": project_data(frame, project),
        "object_attributes": attributes,
        "labels": attributes["labels"],
        "changes": dict(changes or {}),
        "repository": repository_data(frame, project),
    }
    if subject.assignees:  # both keys are absent when there is nobody
        data["assignees"] = users_data(subject.assignees)
    if subject.reviewers:
        data["reviewers"] = [
            user_data(user) | {"state": "approved" if user in subject.approved_by else "unreviewed"}
            for user in subject.reviewers
        ]
    return data


def attributes_of(frame: Frame, project: Project, subject: MergeRequest) -> Data:
    """The merge request itself, as its own events and notes on it carry it."""
    attributes: Data = {
        "id": subject.id,
        "iid": subject.iid,
        "title": subject.title,
        "description": subject.description,
        "author_id": subject.author.id,
        "assignee_id": subject.assignees[0].id if subject.assignees else None,
        "assignee_ids": [user.id for user in subject.assignees],
        "reviewer_ids": [user.id for user in subject.reviewers],
        "source_branch": subject.source_branch,
        "target_branch": subject.target_branch,
        "source_project_id": project.id,
        "target_project_id": project.id,
        "source": project_data(frame, project),
        "target": project_data(frame, project),
        "state": subject.state,
        "state_id": STATE_IDS[subject.state],
        "draft": subject.draft,
        "work_in_progress": subject.draft,
        "created_at": frame.at(subject.created_at),
        "updated_at": frame.at(subject.updated_at),
        "prepared_at": frame.at(subject.created_at),
        "last_edited_at": None,
        "merge_commit_sha": subject.merge_commit_sha,
        "squash_commit_sha": None,
        "merge_user_id": None,  # null even in a real `merge` event: the top-level `user` merged
        "merge_status": "can_be_merged",
        "detailed_merge_status": "mergeable" if subject.state == "opened" else "not_open",
        "head_pipeline_id": _head_pipeline(project, subject),
        "blocking_discussions_resolved": True,
        "first_contribution": False,
        "last_commit": commit_data(frame, project, subject.last_commit),
        "time_estimate": 0,
        "total_time_spent": 0,
        "time_change": 0,
        "milestone_id": None,
        "target_branch_protected": subject.target_branch == project.default_branch,
        "labels": [label_data(frame, project, label) for label in subject.labels],
        "url": frame.page(project, f"merge_requests/{subject.iid}"),
    }
    if frame.release >= MERGED_AT_SINCE:
        attributes["merged_at"] = frame.at(subject.merged_at)
    return attributes


def _head_pipeline(project: Project, subject: MergeRequest) -> int | None:
    sha = subject.last_commit.sha
    return next((pipeline.id for pipeline in reversed(project.pipelines) if pipeline.commit.sha == sha), None)
