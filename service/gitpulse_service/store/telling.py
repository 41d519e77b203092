"""What each family of events says, as rows: one function a family. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gitpulse_service.events.decode import Event
from gitpulse_service.events.deployment import Deployment
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.group import GroupChange
from gitpulse_service.events.issue import Issue
from gitpulse_service.events.merge_request import MergeRequest
from gitpulse_service.events.note import Note
from gitpulse_service.events.pipeline import Build, Job, Pipeline
from gitpulse_service.events.project import Project, known
from gitpulse_service.events.push import Commit, Push
from gitpulse_service.events.release import Release
from gitpulse_service.store import tables
from gitpulse_service.store.rows import Batch, Rows, Telling, knowledge, version

_MERGE_REQUEST_STATES = ("opened", "closed", "locked", "merged")
_ISSUE_STATES = ("opened", "closed")
_PIPELINE_STATUSES = (
    *("created", "waiting_for_resource", "preparing", "scheduled", "pending", "manual", "running"),
    *("canceling", "skipped", "canceled", "failed", "success"),
)
"""Those of jobs too."""
_DEPLOYMENT_STATUSES = ("created", "blocked", "running", "skipped", "canceled", "failed", "success")
_RELEASE_ACTIONS = ("create", "update", "delete")
_ENDED = ("success", "failed", "canceled")
_NO_PROJECT = Project()


def rows_of(batch: Iterable[tuple[Envelope, Event | None]], *, keep_emails: bool = True) -> Rows:
    """What a batch says, once. Without `keep_emails`, pseudonyms stand for addresses, in bodies too."""
    found = Batch(keep_emails=keep_emails)
    for envelope, event in batch:
        telling = Telling(found, envelope, event)
        if event is None:
            continue
        for user in event.users:
            telling.account(user.id, known(user.name), known(user.username), known(user.email))
        if gitlab_id := event.gitlab_project_id:
            it = event.project or _NO_PROJECT
            telling.add_project(gitlab_id, it.path_with_namespace, it.name, it.web_url, it.default_branch)
            _TELLERS[type(event)](telling, event)
    return found.rows()


def _push(telling: Telling, event: Push) -> None:
    for commit in event.commits or ():
        _commit(telling, commit)
    if event.is_sample:
        return
    ref, before, after = event.ref or "", event.before or "", event.after or ""
    new, gone = not before.strip("0"), not after.strip("0")
    forced, at, who = 0 if new or gone else None, telling.received_at, telling.account(event.who)
    telling.add(tables.push, None, ref=ref, before=before, after=after, received_at=at, who=who, forced=forced)
    listed = event.lists_all and ref.startswith("refs/heads/")  # of what a tag reaches, a delivery lists nothing
    if not (new and listed):
        # Was it forced, and are the commits that it took away still in another branch? Only GitLab knows.
        telling.todo("push", msgspec.json.encode([ref, before, after, listed]).decode())


def _commit(telling: Telling, commit: Commit) -> None:
    name, email = commit.author_name, commit.author_email
    offset = commit.timestamp.utcoffset() if commit.timestamp else None
    telling.add_commit(
        2 if email else 1 if name else 0,
        telling.author(name, email),
        sha=commit.id,
        committed_at=commit.timestamp,
        utc_offset=None if offset is None else int(offset.total_seconds()) // 60,
        added=_number(commit.added),
        modified=_number(commit.modified),
        removed=_number(commit.removed),
        seen_at=telling.received_at,
        lost_at=None,
    )
    if None in (commit.added, commit.modified, commit.removed):
        telling.todo("files", commit.id)


def _merge_request(telling: Telling, event: MergeRequest) -> None:
    it = event.object_attributes
    order = version(it.updated_at or it.created_at, _rank(_MERGE_REQUEST_STATES, it.state))
    author, merged_at, closed_at = telling.account(it.author_id), event.merged_at, event.closed_at
    moments = {"merged_at": merged_at, "closed_at": closed_at, "deployed_at": None}
    telling.add(tables.merge_request, it, order, author=author, **moments)
    if event.is_approval and (who := telling.account(event.who)):
        telling.add(tables.review, None, merge_request=it.id, who=who, at=it.actioned_at or telling.received_at)
    if event.leaves_moment_open and it.iid:
        telling.todo("merge_request", str(it.iid))


def _note(telling: Telling, event: Note) -> None:
    it = event.object_attributes
    if (
        it.noteable_type == "MergeRequest"
        and it.noteable_id
        and not it.system
        and (who := telling.account(it.author_id))
    ):
        at = it.created_at or telling.received_at
        telling.add(tables.review, None, merge_request=it.noteable_id, who=who, at=at)


def _issue(telling: Telling, event: Issue) -> None:
    it = event.object_attributes
    order = version(it.updated_at or it.created_at, _rank(_ISSUE_STATES, it.state))
    author, labels = telling.account(it.author_id), msgspec.json.encode(event.label_titles).decode()
    telling.add(tables.issue, it, order, author=author, type=event.type, labels=labels, closed_at=event.closed_at)
    if at := event.reopened_at:
        telling.add(tables.reopening, it, issue=it.id, reopened_at=at, who=telling.account(event.who))


def _pipeline(telling: Telling, event: Pipeline) -> None:
    it = event.object_attributes
    # Lists of GitLab's API do not say when a pipeline ended: they take nothing from an event that did.
    told = it.finished_at is not None or it.status not in _ENDED
    order = version(event.updated_at if told else None, _rank(_PIPELINE_STATUSES, it.status))
    duration, queued = _whole(it.duration), _whole(it.queued_duration)
    telling.add(tables.pipeline, it, order, who=telling.account(event.who), duration=duration, queued_duration=queued)
    for build in event.builds or ():
        _job(telling, it.id, build)


def _job(telling: Telling, pipeline: int | None, build: Build | Job) -> None:
    if build.id is None:
        return
    ended = build.finished_at is not None  # until then durations grow
    telling.add(
        tables.job,
        build,
        version(build.updated_at, _rank(_PIPELINE_STATUSES, build.status)),
        pipeline=pipeline,
        who=telling.account(build.who),
        duration=_whole(build.duration) if ended else None,
        queued_duration=_whole(build.queued_duration) if ended and build.started_at else None,
    )


def _deployment(telling: Telling, event: Deployment) -> None:
    number, tier = event.deployment_id, event.environment_tier
    # Who does not know the tier takes nothing from who does.
    order = version(event.status_changed_at if tier else None, _rank(_DEPLOYMENT_STATUSES, event.status))
    telling.add(tables.deployment, event, order, id=number, tier=tier, who=telling.account(event.who))
    if event.succeeded_at and tier == "production":
        telling.todo("deployment", msgspec.json.encode([number, int(event.succeeded_at.timestamp())]).decode())


def _release(telling: Telling, event: Release) -> None:
    # No event says when a release was changed.
    order = knowledge(_rank(_RELEASE_ACTIONS, event.action), telling.received_at)
    telling.add(tables.release, event, order, deleted=1 if event.action == "delete" else None)


def _rank(ranks: tuple[str, ...], state: str | None) -> int:
    return ranks.index(state) if state in ranks else 0


def _number(paths: tuple[str, ...] | None) -> int | None:
    return None if paths is None else len(paths)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds // 1)


_TELLERS: dict[type[Event], Callable[[Telling, Any], None]] = {
    Push: _push,
    MergeRequest: _merge_request,
    Note: _note,
    Issue: _issue,
    Pipeline: _pipeline,
    Job: lambda telling, event: _job(telling, event.pipeline, event),
    Deployment: _deployment,
    Release: _release,
    GroupChange: lambda *_: None,
}
