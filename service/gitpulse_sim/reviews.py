"""What people do with merge requests: open, approve, merge, close. Each action tells the hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.work import merge_request
from gitpulse_sim.people import User
from gitpulse_sim.work import Label, MergeRequest, State
from gitpulse_sim.world import Project


async def open_merge_request(
    forge: Forge,
    project: Project,
    author: User,
    source: str,
    *,
    title: str,
    at: datetime,
    target: str | None = None,
    description: str = "",
    reviewers: Sequence[User] = (),
    labels: Sequence[Label] = (),
) -> MergeRequest:
    """Opens one from a branch that exists. Raises BadRequest."""
    newest = await forge.newest(project, source)
    subject = MergeRequest(
        id=forge.world.next_id("merge request"), iid=len(project.merge_requests) + 1, title=title,
        description=description, author=author, source_branch=source,
        target_branch=target or project.default_branch, created_at=at, updated_at=at, last_commit=newest,
        assignees=[author], reviewers=list(reviewers), labels=list(labels),
    )  # fmt: skip
    project.repository.tip(subject.target_branch)
    project.merge_requests.append(subject)
    await _tell(forge, project, author, subject, "open", {"state_id": {"previous": None, "current": 1}})
    return subject


async def approve(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """One approval is enough here. `updated_at` stays, as GitLab's predates approvals."""
    subject.approved_by.append(user)
    subject.actioned_at = at
    await _tell(forge, project, user, subject, "approved", {})


async def merge(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """Makes a merge commit, says so, and removes the source branch. Raises BadRequest."""
    subject.must_be("opened")
    change = await forge.merge_branch(project, user, subject.source_branch, subject.target_branch, at=at)
    subject.merge_commit_sha, subject.merge_user, subject.merged_at = change.after, user, at
    await _move(forge, project, user, subject, "merge", "opened", "merged", at)
    await forge.delete(project, user, f"refs/heads/{subject.source_branch}")


async def close(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """Closes without merging; the branch stays. Raises BadRequest."""
    await _move(forge, project, user, subject, "close", "opened", "closed", at)


async def reopen(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """Raises BadRequest."""
    await _move(forge, project, user, subject, "reopen", "closed", "opened", at)


async def _move(
    forge: Forge,
    project: Project,
    user: User,
    subject: MergeRequest,
    action: str,
    state: State,
    to: State,
    at: datetime,
) -> None:
    changes = subject.move(state, to, by=user, at=at)
    await _tell(forge, project, user, subject, action, changes)


async def _tell(
    forge: Forge, project: Project, user: User, subject: MergeRequest, action: str, changes: Mapping[str, object]
) -> None:
    data = merge_request(forge.frame, project, user, subject, action, changes=changes)
    await forge.tell(project, "merge_requests_events", data)
