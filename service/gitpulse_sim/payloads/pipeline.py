"""Pipeline and job events."""

from __future__ import annotations

from datetime import datetime

from gitpulse_sim.payloads.common import Data, Frame, commit_data, project_data, repository_data, user_data
from gitpulse_sim.stamps import iso_milliseconds
from gitpulse_sim.work import Job, Pipeline
from gitpulse_sim.world import Project

LABELS = {"success": "passed"}
RUNNER: Data = {
    "id": 1,
    "description": "simulated runner",
    "runner_type": "instance_type",
    "active": True,
    "is_shared": True,
    "tags": ["linux"],
}
ISO_TWINS_SINCE = (18, 0)
"""[unverified] which version added `build_created_at_iso` and its like to job events."""


def pipeline(frame: Frame, project: Project, subject: Pipeline) -> Data:
    """`Pipeline Hook`: one event for each change of its status."""
    request = subject.merge_request
    return {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": subject.id,
            "iid": subject.iid,
            "name": None,
            "ref": subject.ref,
            "tag": False,
            "sha": subject.commit.sha,
            "before_sha": subject.before_sha,
            "source": subject.source,
            "status": subject.status,
            "detailed_status": LABELS.get(subject.status, subject.status),
            "stages": subject.stages,
            "created_at": frame.at(subject.created_at),
            "finished_at": frame.at(subject.finished_at),
            "duration": _whole(_seconds(subject.started_at, subject.finished_at)),
            "queued_duration": _whole(_seconds(subject.created_at, subject.started_at)),
            "protected_ref": subject.ref == project.default_branch,
            "variables": [],
            "url": frame.page(project, f"pipelines/{subject.id}"),
        },
        "merge_request": {
            "id": request.id,
            "iid": request.iid,
            "title": request.title,
            "source_branch": request.source_branch,
            "source_project_id": project.id,
            "target_branch": request.target_branch,
            "target_project_id": project.id,
            "state": request.state,
            "merge_status": "can_be_merged",
            "detailed_merge_status": "mergeable",
            "url": frame.page(project, f"merge_requests/{request.iid}"),
        }
        if request
        else None,
        "user": user_data(subject.user),
        "project": project_data(frame, project, legacy=False),
        "commit": commit_data(frame, project, subject.commit),
        "builds": [_build(frame, subject, job) for job in subject.jobs],
    }


def job(frame: Frame, project: Project, subject: Pipeline, one: Job) -> Data:
    """`Job Hook`, whose `object_kind` is `build`. The `commit` in it carries the pipeline's id."""
    commit = subject.commit
    times = {"created_at": one.created_at, "started_at": one.started_at, "finished_at": one.finished_at}
    data: Data = {
        "object_kind": "build",
        "ref": subject.ref,
        "tag": False,
        "sha": commit.sha,
        "before_sha": subject.before_sha,
        "build_id": one.id,
        "build_name": one.name,
        "build_stage": one.stage,
        "build_status": one.status,
        **{f"build_{name}": frame.at(moment) for name, moment in times.items()},
        "build_duration": _seconds(one.started_at, one.finished_at),
        "build_queued_duration": _seconds(one.created_at, one.started_at),
        "build_allow_failure": False,
        "build_failure_reason": one.failure_reason or "unknown_failure",
        "retries_count": 0,
        "pipeline_id": subject.id,
        "project_id": project.id,
        "project_name": f"{project.group.name} / {project.name}",
        "user": user_data(subject.user),
        "commit": {
            "id": subject.id,
            "name": None,
            "sha": commit.sha,
            "message": commit.message,
            "author_name": commit.author.name,
            "author_email": commit.author.email,
            "status": subject.status,
            "duration": _whole(_seconds(subject.started_at, subject.finished_at)),
            "started_at": frame.at(subject.started_at),
            "finished_at": frame.at(subject.finished_at),
        },
        "repository": repository_data(frame, project),
        "project": project_data(frame, project, legacy=False),
        "runner": RUNNER if one.started_at else None,
        "environment": None,
    }
    if frame.release >= ISO_TWINS_SINCE:
        data |= {f"build_{name}_iso": iso_milliseconds(moment) if moment else None for name, moment in times.items()}
    return data


def _build(frame: Frame, subject: Pipeline, one: Job) -> Data:
    data: Data = {
        "id": one.id,
        "stage": one.stage,
        "name": one.name,
        "status": one.status,
        "created_at": frame.at(one.created_at),
        "started_at": frame.at(one.started_at),
        "finished_at": frame.at(one.finished_at),
        "duration": _seconds(one.started_at, one.finished_at),
        "queued_duration": _seconds(one.created_at, one.started_at),
        "when": "on_success",
        "manual": False,
        "allow_failure": False,
        "user": user_data(subject.user),
        "runner": RUNNER if one.started_at else None,
        "artifacts_file": {"filename": None, "size": None},
        "environment": None,
    }
    return data | {"failure_reason": one.failure_reason} if one.failure_reason else data


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def _whole(seconds: float | None) -> int | None:
    """A pipeline's durations are whole seconds, a job's are not."""
    return None if seconds is None else int(seconds)
