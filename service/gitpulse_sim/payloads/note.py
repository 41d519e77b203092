"""Note events: comments on merge requests, issues and commits."""

from __future__ import annotations

import hashlib

from gitpulse_sim.payloads import issue, merge_request
from gitpulse_sim.payloads.common import Data, Frame, commit_data, project_data, repository_data, user_data
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import Issue, MergeRequest, Note
from gitpulse_sim.world import Project


def note(frame: Frame, project: Project, subject: Note) -> Data:
    """`Note Hook`, or for an internal note the confidential one. The target stands beside it, under its own name."""
    target = subject.target
    data: Data = {
        "object_kind": "note",
        "event_type": "confidential_note" if subject.internal else "note",
        "user": user_data(subject.author),
        "project_id": project.id,
        "project": project_data(frame, project),
        "object_attributes": {
            "id": subject.id,
            "note": subject.body,
            "description": subject.body,
            "noteable_type": subject.noteable_type,
            "noteable_id": None if isinstance(target, Commit) else target.id,
            "author_id": subject.author.id,
            "project_id": project.id,
            "created_at": frame.at(subject.created_at),
            "updated_at": frame.at(subject.created_at),
            "discussion_id": hashlib.sha1(f"note {subject.id}".encode(), usedforsecurity=False).hexdigest(),
            "type": None,
            "system": False,
            "internal": subject.internal,
            "resolved_at": None,
            "resolved_by_id": None,
            "position": None,
            "commit_id": target.sha if isinstance(target, Commit) else None,
            "line_code": None,
            "attachment": None,
            "st_diff": None,
            "action": "create",
            "url": f"{_page(frame, project, subject)}#note_{subject.id}",
        },
        "repository": repository_data(frame, project),
    }
    if isinstance(target, MergeRequest):
        data["merge_request"] = merge_request.attributes_of(frame, project, target)
    elif isinstance(target, Issue):
        data["issue"] = issue.attributes_of(frame, project, target)
    else:
        data["commit"] = commit_data(frame, project, target)
    return data


def _page(frame: Frame, project: Project, subject: Note) -> str:
    match subject.target:
        case MergeRequest(iid=iid):
            return frame.page(project, f"merge_requests/{iid}")
        case Issue(iid=iid):
            return frame.page(project, f"issues/{iid}")
        case commit:
            return frame.page(project, f"commit/{commit.sha}")
