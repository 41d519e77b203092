"""What people do with merge requests: open, discuss, approve, merge, close. Each action tells the hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitpulse_sim.deliver import Event
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.merge_request import STATE_IDS, merge_request
from gitpulse_sim.people import User
from gitpulse_sim.work import Label, MergeRequest, MergeRequestState
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
    await _tell(forge, project, author, subject, "open", changes=_change("state_id", None, 1))
    return subject


async def label(
    forge: Forge, project: Project, user: User, subject: MergeRequest, labels: Sequence[Label], *, at: datetime
) -> None:
    """Changes metadata only: an `update` without `oldrev`."""
    subject.labels, subject.updated_at = list(labels), at
    changes = _change("labels", [], [{"id": one.id, "title": one.title, "color": one.color} for one in labels])
    await _tell(forge, project, user, subject, "update", changes=changes)


async def approve(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """One approval is enough here. `updated_at` stays, as GitLab's predates approvals."""
    subject.approved_by.append(user)
    subject.actioned_at = at
    await _tell(forge, project, user, subject, "approved")


async def merge(
    forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime, delete_branch: bool = True
) -> None:
    """Makes a merge commit, says so, and removes the source branch. Raises BadRequest."""
    _must_be(subject, "opened")
    change = await forge.merge_branch(project, user, subject.source_branch, subject.target_branch, at=at)
    subject.merge_commit_sha, subject.merge_user = change.after, user
    subject.merged_at = at
    await _end(forge, project, user, subject, "merged", "merge", at)
    if delete_branch:
        await forge.delete(project, user, f"refs/heads/{subject.source_branch}")


async def close(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """Closes without merging; the branch stays. Raises BadRequest."""
    _must_be(subject, "opened")
    subject.closed_at, subject.closed_by = at, user
    await _end(forge, project, user, subject, "closed", "close", at)


async def reopen(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """Raises BadRequest."""
    _must_be(subject, "closed")
    subject.closed_at = subject.closed_by = None
    await _end(forge, project, user, subject, "opened", "reopen", at)


def _must_be(subject: MergeRequest, state: str) -> None:
    if subject.state != state:
        raise BadRequest(f"merge request !{subject.iid} is {subject.state}, not {state}")


async def _end(
    forge: Forge,
    project: Project,
    user: User,
    subject: MergeRequest,
    state: MergeRequestState,
    action: str,
    at: datetime,
) -> None:
    changes = _change("state_id", STATE_IDS[subject.state], STATE_IDS[state])
    subject.state, subject.updated_at = state, at
    await _tell(forge, project, user, subject, action, changes=changes)


async def _tell(
    forge: Forge,
    project: Project,
    user: User,
    subject: MergeRequest,
    action: str,
    *,
    changes: Mapping[str, object] | None = None,
) -> None:
    data = merge_request(forge.frame, project, user, subject, action, changes=changes)
    await forge.engine.emit(project, Event(toggle="merge_requests_events", data=data))


def _change(name: str, previous: object, current: object) -> dict[str, object]:
    return {name: {"previous": previous, "current": current}}
