"""Pipelines and jobs."""

from __future__ import annotations

from gitpulse_sim.clock import iso_milliseconds
from gitpulse_sim.frame import Data, Frame, commit_data, project_data, repository_data, user_data
from gitpulse_sim.work import Job, Pipeline
from gitpulse_sim.world import Project

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
            **frame.fields(
                subject,
                "id iid ref sha=commit.sha before_sha source status stages created_at finished_at "
                "duration queued_duration",
            ),
            "name": None,
            "tag": False,
            "detailed_status": "passed" if subject.status == "success" else subject.status,
            "protected_ref": subject.ref == project.default_branch,
            "variables": [],
            "url": frame.page(project, subject.page),
        },
        "merge_request": {
            **frame.fields(request, "id iid title source_branch target_branch state"),
            "source_project_id": project.id,
            "target_project_id": project.id,
            "merge_status": "can_be_merged",
            "detailed_merge_status": "mergeable",
            "url": frame.page(project, request.page),
        }
        if request
        else None,
        "user": user_data(subject.user),
        "project": project_data(frame, project, legacy=False),
        "commit": commit_data(frame, project, subject.commit),
        "builds": [_build(frame, subject, job) for job in subject.jobs],
    }


def _build(frame: Frame, subject: Pipeline, one: Job) -> Data:
    table = "id stage name status created_at started_at finished_at duration queued_duration"
    return frame.fields(one, table + (" failure_reason" if one.failure_reason else "")) | {
        "when": "on_success",
        "manual": False,
        "allow_failure": False,
        "user": user_data(subject.user),
        "runner": RUNNER if one.started_at else None,
        "artifacts_file": {"filename": None, "size": None},
        "environment": None,
    }


def job(frame: Frame, project: Project, subject: Pipeline, one: Job) -> Data:
    """`Job Hook`, whose `object_kind` is `build`. The `commit` in it carries the pipeline's id."""
    times = ("created_at", "started_at", "finished_at")
    own = ("id", "name", "stage", "status", "duration", "queued_duration", *times)
    data: Data = {
        "object_kind": "build",
        **frame.fields(subject, "ref sha=commit.sha before_sha pipeline_id=id"),
        "tag": False,
        **frame.fields(one, " ".join(f"build_{name}={name}" for name in own)),
        "build_allow_failure": False,
        "build_failure_reason": one.failure_reason or "unknown_failure",
        "retries_count": 0,
        "project_id": project.id,
        "project_name": f"{project.group.name} / {project.name}",
        "user": user_data(subject.user),
        "commit": frame.fields(
            subject,
            "id sha=commit.sha message=commit.message author_name=commit.author.name author_email=commit.author.email "
            "status duration started_at finished_at",
        )
        | {"name": None},
        "repository": repository_data(frame, project),
        "project": project_data(frame, project, legacy=False),
        "runner": RUNNER if one.started_at else None,
        "environment": None,
    }
    if frame.release < ISO_TWINS_SINCE:
        return data
    moments = {name: getattr(one, name) for name in times}
    return data | {f"build_{name}_iso": iso_milliseconds(at) if at else None for name, at in moments.items()}
