"""Pipelines and jobs, deployments and releases."""

from __future__ import annotations

from datetime import datetime

from gitpulse_sim.clock import iso_milliseconds
from gitpulse_sim.frame import Data, InProject, project_data, repository_data
from gitpulse_sim.work import Deployment, Job, MergeRequest, Pipeline, Release

RUNNER: Data = {"id": 1, "runner_type": "instance_type", "active": True, "is_shared": True, "tags": ["linux"]}
RUNNER["description"] = "simulated runner"
ISO_TWINS_SINCE = (18, 0)
"""[unverified] which version added `build_created_at_iso` and its like to job events."""


def pipeline(frame: InProject, subject: Pipeline) -> Data:
    """`Pipeline Hook`: one event for each change of its status."""
    attributes = frame.fields(
        subject,
        "id iid ref=source_ref tag sha=commit.sha before_sha source status stages created_at finished_at duration "
        "queued_duration name:null variables:[]",
    )
    attributes["detailed_status"] = "passed" if subject.status == "success" else subject.status
    attributes["protected_ref"] = subject.source_ref == frame.project.default_branch
    return frame.fields(subject, 'object_kind:"pipeline" user commit') | {
        "object_attributes": attributes | {"url": frame.page(subject.page)},
        "merge_request": _request(frame, subject.merge_request) if subject.merge_request else None,
        "project": project_data(frame, legacy=False),
        "builds": [_build(frame, job) for job in subject.jobs],
    }


def _request(frame: InProject, request: MergeRequest) -> Data:
    table = 'id iid title source_branch target_branch state merge_status:"can_be_merged" '
    data = frame.fields(request, f'{table} detailed_merge_status:"mergeable"')
    ids = dict.fromkeys(("source_project_id", "target_project_id"), frame.project.id)
    return data | ids | {"url": frame.page(request.page)}


def _build(frame: InProject, one: Job) -> Data:
    table = "id stage name status created_at started_at finished_at duration queued_duration manual:false user "
    table += 'when:"on_success" allow_failure:false environment artifacts_file:{"filename":null,"size":null}'
    data = frame.fields(one, table + (" failure_reason" if one.failure_reason else ""))
    return data | {"runner": RUNNER if one.started_at else None}


def job(frame: InProject, subject: Pipeline, one: Job) -> Data:
    """`Job Hook`, whose `object_kind` is `build`. The `commit` in it carries the pipeline's id."""
    times = ("created_at", "started_at", "finished_at")
    own = ("id", "name", "stage", "status", "duration", "queued_duration", *times)
    project = frame.project
    data: Data = {
        **frame.fields(subject, 'object_kind:"build" ref=source_ref tag sha=commit.sha before_sha pipeline_id=id'),
        **frame.fields(one, " ".join(f"build_{name}={name}" for name in own)),
        **frame.fields(one, "build_allow_failure:false retries_count=retries user environment"),
        "build_failure_reason": one.failure_reason or "unknown_failure",
        "project_id": project.id,
        "project_name": f"{project.group.name} / {project.name}",
        "commit": frame.fields(
            subject,
            "id sha=commit.sha message=commit.message author_name=commit.author.name author_email=commit.author.email "
            "status duration started_at finished_at name:null",
        ),
        "repository": repository_data(frame),
        "project": project_data(frame, legacy=False),
        "runner": RUNNER if one.started_at else None,
    }
    if frame.release < ISO_TWINS_SINCE:
        return data
    moments = {name: getattr(one, name) for name in times}
    return data | {f"build_{name}_iso": iso_milliseconds(at) if at else None for name, at in moments.items()}


def deployment(frame: InProject, subject: Deployment, at: datetime) -> Data:
    """`Deployment Hook`: when it starts and when it ends. Of the commit it tells no more than eight digits."""
    job = subject.deployable
    return {
        **frame.fields(
            subject,
            'object_kind:"deployment" '
            "status deployment_id=id environment=environment.name environment_tier=environment.tier "
            "environment_slug=environment.slug short_sha=commit.short_sha commit_title=commit.title user",
        ),
        "status_changed_at": frame.shown(at),
        "deployable_id": job.id if job else None,
        "deployable_url": frame.page(job.page) if job else None,
        "environment_external_url": f"https://{subject.environment.slug}.example.com",
        "project": project_data(frame),
        "user_url": f"{frame.url}/{subject.user.username}",
        "commit_url": frame.page(f"commit/{subject.commit.sha}"),
    }


def release(frame: InProject, subject: Release, action: str) -> Data:
    """`Release Hook`, which is flat."""
    table = 'object_kind:"release" id created_at description name released_at tag=tag_name commit '
    data = frame.fields(subject, table + 'assets:{"count":0,"links":[],"sources":[]}')
    return data | {"action": action, "project": project_data(frame), "url": frame.page(subject.page)}
