"""What people do with merge requests and issues, and what they write on anything. Each action tells the hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitpulse_sim.errors import BadRequest
from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.work import issue, merge_request, note
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import STATE_IDS, Issue, Label, MergeRequest, Note, State, StateEvent
from gitpulse_sim.world import Project

Discussed = MergeRequest | Issue


async def open_merge_request(
    forge: Forge,
    project: Project,
    author: User,
    source: str,
    *,
    title: str,
    at: datetime,
    description: str = "",
    reviewers: Sequence[User] = (),
    labels: Sequence[Label] = (),
    approvals_required: int = 1,
) -> MergeRequest:
    """Opens one from a branch that exists. Raises BadRequest."""
    newest = await forge.newest(project, source)
    subject = MergeRequest(
        id=forge.world.next_id("merge request"), iid=len(project.merge_requests) + 1, title=title,
        description=description, author=author, source_branch=source, target_branch=project.default_branch,
        created_at=at, updated_at=at, last_commit=newest,
        assignees=[author], reviewers=list(reviewers), labels=list(labels), approvals_required=approvals_required,
    )  # fmt: skip
    project.repository.tip(subject.target_branch)
    project.repository.keep(newest.sha)
    project.merge_requests.append(subject)
    await _tell(forge, project, author, subject, "open", _change(None, "opened"))
    return subject


async def open_issue(
    forge: Forge,
    project: Project,
    author: User,
    *,
    title: str,
    at: datetime,
    description: str = "",
    confidential: bool = False,
    type_: str = "Issue",
    labels: Sequence[Label] = (),
) -> Issue:
    """Opens an issue, or a work item of another type (`Task`, `Incident`)."""
    subject = Issue(
        id=forge.world.next_id("issue"), iid=len(project.issues) + 1, title=title, description=description,
        author=author, created_at=at, updated_at=at, type=type_, confidential=confidential, labels=list(labels),
    )  # fmt: skip
    project.issues.append(subject)
    await _tell(forge, project, author, subject, "open", _change(None, "opened"))
    return subject


async def comment(
    forge: Forge,
    project: Project,
    author: User,
    target: Discussed | Commit,
    body: str,
    *,
    at: datetime,
    internal: bool = False,
) -> Note:
    """Writes a note; an internal one, or one on a confidential issue, goes to those who asked for such."""
    confidential = internal or (isinstance(target, Issue) and target.confidential)
    subject = Note(
        id=forge.world.next_id("note"), body=body, author=author, target=target, created_at=at, internal=confidential
    )
    project.notes.append(subject)
    if isinstance(target, Commit):
        project.repository.keep(target.sha)
    toggle = "confidential_note_events" if confidential else "note_events"
    await forge.tell(project, toggle, note(forge.frame(project), subject))
    return subject


async def approve(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """`updated_at` stays, as GitLab's predates approvals; of the moment a note of the machine's tells."""
    subject.approved_by.append(user)
    subject.approvals.append((at, user))
    enough = len(subject.approved_by) >= subject.approvals_required
    await _judge(forge, project, user, subject, "approved" if enough else "approval", "approved", at)


async def unapprove(forge: Forge, project: Project, user: User, subject: MergeRequest, *, at: datetime) -> None:
    """Withdraws an approval."""
    subject.approved_by.remove(user)
    fell = len(subject.approved_by) == subject.approvals_required - 1
    await _judge(forge, project, user, subject, "unapproved" if fell else "unapproval", "unapproved", at)


async def merge(
    forge: Forge,
    project: Project,
    user: User,
    subject: MergeRequest,
    *,
    at: datetime,
    squash: bool = False,
    keep_branch: bool = False,
) -> None:
    """Makes a merge commit, says so, and removes the source branch. Raises BadRequest."""
    changes = _move(forge, subject, "opened", "merged", user, at)
    change = await forge.merge_branches(
        project, user, [subject.source_branch], subject.target_branch, at=at, squash=squash
    )
    subject.merge_commit_sha, subject.merge_user, subject.merged_at = change.after, user, at
    subject.squash_commit_sha = change.commits[-1].parents[1] if squash else None
    await _tell(forge, project, user, subject, "merge", changes)
    if not keep_branch:
        await forge.delete(project, user, f"refs/heads/{subject.source_branch}")


async def close(forge: Forge, project: Project, user: User, subject: Discussed, *, at: datetime) -> None:
    """Closes an issue, or a merge request without merging; the branch stays. Raises BadRequest."""
    await _tell(forge, project, user, subject, "close", _move(forge, subject, "opened", "closed", user, at))


async def reopen(forge: Forge, project: Project, user: User, subject: Discussed, *, at: datetime) -> None:
    """Raises BadRequest."""
    await _tell(forge, project, user, subject, "reopen", _move(forge, subject, "closed", "opened", user, at))


async def relabel(
    forge: Forge, project: Project, user: User, subject: Discussed, labels: Sequence[Label], *, at: datetime
) -> None:
    """Gives it other labels, whatever its state."""
    before, subject.labels, subject.updated_at = subject.labels, list(labels), at
    previous, current = forge.frame(project).shown([before, subject.labels])
    changes = {"labels": {"previous": previous, "current": current}}
    await _tell(forge, project, user, subject, "update", changes)


async def _judge(
    forge: Forge, project: Project, user: User, subject: MergeRequest, action: str, verb: str, at: datetime
) -> None:
    subject.actioned_at = at
    number, body = forge.world.next_id("note"), f"{verb} this merge request"
    project.notes.append(Note(id=number, body=body, author=user, target=subject, created_at=at, system=True))
    await _tell(forge, project, user, subject, action, {})


def _move(
    forge: Forge, subject: Discussed, before: State, state: State, user: User, at: datetime
) -> Mapping[str, object]:
    if subject.state != before:
        raise BadRequest(f"number {subject.iid} is {subject.state}, not {before}")
    subject.state, subject.updated_at = state, at
    subject.closed_at, subject.closed_by = (at, user) if state == "closed" else (None, None)
    said = "reopened" if state == "opened" else state
    subject.state_events.append(StateEvent(id=forge.world.next_id("event"), user=user, created_at=at, state=said))
    return _change(before, state)


def _change(before: State | None, state: State) -> Mapping[str, object]:
    """What a payload's `changes` say of it."""
    return {"state_id": {"previous": before and STATE_IDS[before], "current": STATE_IDS[state]}}


async def _tell(
    forge: Forge, project: Project, user: User, subject: Discussed, action: str, changes: Mapping[str, object]
) -> None:
    frame = forge.frame(project)
    if isinstance(subject, MergeRequest):
        data = merge_request(frame, user, subject, action, changes=changes)
        return await forge.tell(project, "merge_requests_events", data)
    toggle = "confidential_issues_events" if subject.confidential else "issues_events"
    return await forge.tell(project, toggle, issue(frame, user, subject, action, changes=changes))
