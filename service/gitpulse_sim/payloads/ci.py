"""Pipelines and jobs, deployments and releases."""

from __future__ import annotations

from datetime import datetime

from gitpulse_sim.clock import iso_milliseconds
from gitpulse_sim.frame import Data, Frame, commit_data, project_data, repository_data, user_data
from gitpulse_sim.work import Deployment, Job, MergeRequest, Pipeline, Release
from gitpulse_sim.world import Project

RUNNER: Data = {"id": 1, "runner_type": "instance_type", "active": True, "is_shared": True, "tags": ["linux"]}
RUNNER["description"] = "simulated runner"
ISO_TWINS_SINCE = (18, 0)
"""[unverified] which version added `build_created_at_iso` and its like to job events."""


def pipeline(frame: Frame, project: Project, subject: Pipeline) -> Data:
    """`Pipeline Hook`: one event for each change of its status."""
    return {
        "object_kind": "pipeline",
        "object_attributes": {
            **frame.fields(
                subject,
                "id iid ref=source_ref tag sha=commit.sha before_sha source status stages created_at finished_at "
                "duration queued_duration name:null variables:[]",
            ),
            "detailed_status": "passed" if subject.status == "success" else subject.status,
            "protected_ref": subject.source_ref == project.default_branch,
            "url": frame.page(project, subject.page),
        },
        "merge_request": _request(frame, project, subject.merge_request) if subject.merge_request else None,
        "user": user_data(subject.user),
        "project": project_data(frame, project, legacy=False),
        "commit": commit_data(frame, project, subject.commit),
        "builds": [_build(frame, job) for job in subject.jobs],
    }


def _request(frame: Frame, project: Project, request: MergeRequest) -> Data:
    table = 'id iid title source_branch target_branch state merge_status:"can_be_merged" '
    data = frame.fields(request, f'{table} detailed_merge_status:"mergeable"')
    ids = dict.fromkeys(("source_project_id", "target_project_id"), project.id)
    return data | ids | {"url": frame.page(project, request.page)}


def _build(frame: Frame, one: Job) -> Data:
    table = "id stage name status created_at started_at finished_at duration queued_duration manual:false "
    table += 'when:"on_success" allow_failure:false' + (" failure_reason" if one.failure_reason else "")
    return frame.fields(one, table) | {
        "user": user_data(one.user),
        "runner": RUNNER if one.started_at else None,
        "artifacts_file": {"filename": None, "size": None},
        "environment": _environment(one),
    }


def _environment(one: Job) -> Data | None:
    place = one.environment
    return {"name": place.name, "action": "start", "deployment_tier": place.tier} if place else None


def job(frame: Frame, project: Project, subject: Pipeline, one: Job) -> Data:
    """`Job Hook`, whose `object_kind` is `build`. The `commit` in it carries the pipeline's id."""
    times = ("created_at", "started_at", "finished_at")
    own = ("id", "name", "stage", "status", "duration", "queued_duration", *times)
    data: Data = {
        "object_kind": "build",
        **frame.fields(subject, "ref=source_ref tag sha=commit.sha before_sha pipeline_id=id"),
        **frame.fields(one, " ".join(f"build_{name}={name}" for name in own)),
        "build_allow_failure": False,
        "build_failure_reason": one.failure_reason or "unknown_failure",
        "retries_count": one.retries,
        "project_id": project.id,
        "project_name": f"{project.group.name} / {project.name}",
        "user": user_data(one.user),
        "commit": frame.fields(
            subject,
            "id sha=commit.sha message=commit.message author_name=commit.author.name author_email=commit.author.email "
            "status duration started_at finished_at name:null",
        ),
        "repository": repository_data(frame, project),
        "project": project_data(frame, project, legacy=False),
        "runner": RUNNER if one.started_at else None,
        "environment": _environment(one),
    }
    if frame.release < ISO_TWINS_SINCE:
        return data
    moments = {name: getattr(one, name) for name in times}
    return data | {f"build_{name}_iso": iso_milliseconds(at) if at else None for name, at in moments.items()}


def deployment(frame: Frame, project: Project, subject: Deployment, at: datetime) -> Data:
    """`Deployment Hook`: when it starts and when it ends. Of the commit it tells no more than eight digits."""
    job = subject.deployable
    return {
        **frame.fields(
            subject,
            'object_kind:"deployment" '
            "status deployment_id=id environment=environment.name environment_tier=environment.tier "
            "environment_slug=environment.slug short_sha=commit.short_sha commit_title=commit.title",
        ),
        "status_changed_at": frame.at(at),
        "deployable_id": job.id if job else None,
        "deployable_url": frame.page(project, job.page) if job else None,
        "environment_external_url": f"https://{subject.environment.slug}.example.com",
        "project": project_data(frame, project),
        "user": user_data(subject.user),
        "user_url": f"{frame.url}/{subject.user.username}",
        "commit_url": frame.page(project, f"commit/{subject.commit.sha}"),
    }


def release(frame: Frame, project: Project, subject: Release, action: str) -> Data:
    """`Release Hook`, which is flat."""
    return {
        **frame.fields(subject, 'object_kind:"release" id created_at description name released_at tag=tag_name'),
        "action": action,
        "project": project_data(frame, project),
        "url": frame.page(project, subject.page),
        "assets": {"count": 0, "links": [], "sources": []},
        "commit": commit_data(frame, project, subject.commit),
    }
