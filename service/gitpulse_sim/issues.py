"""What people do with issues, and the notes they write on anything. Each action tells the hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.work import issue, note
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import Issue, Label, MergeRequest, Note
from gitpulse_sim.world import Project


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
    await _tell(forge, project, author, subject, "open", {"state_id": {"previous": None, "current": 1}})
    return subject


async def close_issue(forge: Forge, project: Project, user: User, subject: Issue, *, at: datetime) -> None:
    """Raises BadRequest."""
    changes = subject.move("opened", "closed", by=user, at=at)
    await _tell(forge, project, user, subject, "close", changes)


async def reopen_issue(forge: Forge, project: Project, user: User, subject: Issue, *, at: datetime) -> None:
    """Raises BadRequest."""
    changes = subject.move("closed", "opened", by=user, at=at)
    await _tell(forge, project, user, subject, "reopen", changes)


async def comment(
    forge: Forge,
    project: Project,
    author: User,
    target: MergeRequest | Issue | Commit,
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
    toggle = "confidential_note_events" if confidential else "note_events"
    await forge.tell(project, toggle, note(forge.frame, project, subject))
    return subject


async def _tell(
    forge: Forge, project: Project, user: User, subject: Issue, action: str, changes: Mapping[str, object]
) -> None:
    toggle = "confidential_issues_events" if subject.confidential else "issues_events"
    await forge.tell(project, toggle, issue(forge.frame, project, user, subject, action, changes=changes))
