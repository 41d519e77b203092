"""Merge requests, issues, notes and pipelines, to be read: lists with time filters, and one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim.api import identity
from gitpulse_sim.api.call import Call, Refused
from gitpulse_sim.api.code import commit_data
from gitpulse_sim.api.door import route
from gitpulse_sim.api.pages import paged
from gitpulse_sim.people import User
from gitpulse_sim.work import Issue, Job, MergeRequest, Note, Pipeline
from gitpulse_sim.world import Project

Data = dict[str, object]
Dated = TypeVar("Dated", MergeRequest, Issue, Pipeline)


async def merge_requests(call: Call) -> Response:
    found = selected(call, call.project().merge_requests, state="state")
    return paged(call, [_merge_request(call, call.project(), one) for one in found])


async def merge_request(call: Call) -> Response:
    return JSONResponse(_merge_request(call, call.project(), call.merge_request()))


async def merge_request_notes(call: Call) -> Response:
    return paged(call, _notes(call, call.merge_request()))


async def merge_request_commits(call: Call) -> Response:
    """Newest first. Of a merged one, what its merge commit brought in."""
    project, request = call.project(), call.merge_request()
    start = f"{request.merge_commit_sha}^1" if request.merge_commit_sha else f"refs/heads/{request.target_branch}"
    new = f"{start}..{request.last_commit.sha}"
    found = await asyncio.to_thread(project.repository.log, new, paths=False)
    return paged(call, [commit_data(call, project, one) for one in found])


async def issues(call: Call) -> Response:
    found = selected(call, call.project().issues, state="state")
    return paged(call, [_issue(call, call.project(), one) for one in found])


async def issue(call: Call) -> Response:
    return JSONResponse(_issue(call, call.project(), call.issue()))


async def issue_notes(call: Call) -> Response:
    return paged(call, _notes(call, call.issue()))


async def pipelines(call: Call) -> Response:
    found = selected(call, call.project().pipelines, state="status")
    wanted = {name: call.text(name) for name in ("ref", "sha") if call.text(name)}
    shown = [_pipeline(call, call.project(), one) for one in found]
    return paged(call, [one for one in shown if all(one[name] == value for name, value in wanted.items())])


async def pipeline(call: Call) -> Response:
    project, one = call.project(), call.pipeline()
    world = call.world
    duration = (one.finished_at - one.started_at).total_seconds() if one.finished_at and one.started_at else None
    more: Data = {
        "before_sha": one.before_sha,
        "tag": False,
        "user": _user(call, one.user),
        "started_at": world.iso(one.started_at),
        "finished_at": world.iso(one.finished_at),
        "duration": None if duration is None else int(duration),
        "queued_duration": (one.started_at - one.created_at).total_seconds() if one.started_at else None,
    }
    return JSONResponse(_pipeline(call, project, one) | more)


async def pipeline_jobs(call: Call) -> Response:
    return paged(call, [_job(call, call.project(), call.pipeline(), one) for one in call.pipeline().jobs])


def selected(call: Call, things: Sequence[Dated], *, state: str) -> list[Dated]:
    """The wanted states and times, in the wanted order (newest first)."""
    found: Iterable[Dated] = things
    wanted = call.text(state, "all")
    if wanted != "all":
        found = [one for one in found if getattr(one, state) == wanted]
    for name in ("created", "updated"):
        after, before = _time(call, f"{name}_after"), _time(call, f"{name}_before")
        field = f"{name}_at"
        found = [one for one in found if after is None or getattr(one, field) >= after]
        found = [one for one in found if before is None or getattr(one, field) <= before]
    order = call.text("order_by", "id").removesuffix("_at")
    key = f"{order}_at" if order in ("created", "updated") else "id"
    return sorted(found, key=lambda one: getattr(one, key), reverse=call.text("sort", "desc") == "desc")


def _time(call: Call, name: str) -> datetime | None:
    text = call.text(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(400, {"error": f"{name} is invalid"}) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _user(call: Call, user: User | None) -> Data | None:
    return identity.shown(user, call.world.url) if user else None


def _common(call: Call, project: Project, one: MergeRequest | Issue, kind: str) -> Data:
    iso = call.world.iso
    return {
        "id": one.id,
        "iid": one.iid,
        "project_id": project.id,
        "title": one.title,
        "description": one.description,
        "state": one.state,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
        "closed_at": iso(one.closed_at),
        "closed_by": _user(call, one.closed_by),
        "author": _user(call, one.author),
        "assignees": [_user(call, user) for user in one.assignees],
        "labels": [label.title for label in one.labels],
        "web_url": f"{call.world.url}/{project.full_path}/-/{kind}/{one.iid}",
    }


def _merge_request(call: Call, project: Project, one: MergeRequest) -> Data:
    iso = call.world.iso
    return _common(call, project, one, "merge_requests") | {
        "merged_at": iso(one.merged_at),
        "merge_user": _user(call, one.merge_user),
        "merged_by": _user(call, one.merge_user),
        "source_branch": one.source_branch,
        "target_branch": one.target_branch,
        "source_project_id": project.id,
        "target_project_id": project.id,
        "reviewers": [_user(call, user) for user in one.reviewers],
        "draft": one.draft,
        "sha": one.last_commit.sha,
        "merge_commit_sha": one.merge_commit_sha,
        "squash_commit_sha": None,
        "prepared_at": iso(one.created_at),
        "user_notes_count": sum(note.target is one for note in project.notes),
    }


def _issue(call: Call, project: Project, one: Issue) -> Data:
    return _common(call, project, one, "issues") | {
        "type": one.type.upper(),
        "issue_type": one.type.lower(),
        "confidential": one.confidential,
        "user_notes_count": sum(note.target is one for note in project.notes),
    }


def _notes(call: Call, target: MergeRequest | Issue) -> list[Data]:
    return [_note(call, note) for note in reversed(call.project().notes) if note.target is target]


def _note(call: Call, note: Note) -> Data:
    moment = call.world.iso(note.created_at)
    return {
        "id": note.id,
        "body": note.body,
        "author": _user(call, note.author),
        "system": False,
        "internal": note.internal,
        "noteable_type": note.noteable_type,
        "created_at": moment,
        "updated_at": moment,
    }


def _pipeline(call: Call, project: Project, one: Pipeline) -> Data:
    return {
        "id": one.id,
        "iid": one.iid,
        "project_id": project.id,
        "status": one.status,
        "source": one.source,
        "ref": one.ref,
        "sha": one.commit.sha,
        "created_at": call.world.iso(one.created_at),
        "updated_at": call.world.iso(one.updated_at),
        "web_url": f"{call.world.url}/{project.full_path}/-/pipelines/{one.id}",
    }


def _job(call: Call, project: Project, of: Pipeline, one: Job) -> Data:
    iso = call.world.iso
    return {
        "id": one.id,
        "name": one.name,
        "stage": one.stage,
        "status": one.status,
        "failure_reason": one.failure_reason,
        "created_at": iso(one.created_at),
        "started_at": iso(one.started_at),
        "finished_at": iso(one.finished_at),
        "pipeline": _pipeline(call, project, of),
    }


def routes() -> list[Route]:
    base = "/projects/{id}"
    return [
        route("GET", f"{base}/merge_requests", merge_requests),
        route("GET", f"{base}/merge_requests/{{iid}}", merge_request),
        route("GET", f"{base}/merge_requests/{{iid}}/notes", merge_request_notes),
        route("GET", f"{base}/merge_requests/{{iid}}/commits", merge_request_commits),
        route("GET", f"{base}/issues", issues),
        route("GET", f"{base}/issues/{{iid}}", issue),
        route("GET", f"{base}/issues/{{iid}}/notes", issue_notes),
        route("GET", f"{base}/pipelines", pipelines),
        route("GET", f"{base}/pipelines/{{pipeline_id}}", pipeline),
        route("GET", f"{base}/pipelines/{{pipeline_id}}/jobs", pipeline_jobs),
    ]
