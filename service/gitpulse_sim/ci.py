"""What the machinery does with code: pipelines, their jobs, deployments. Each step tells the hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.ci import deployment, job as job_event, pipeline
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import FINAL_STATUSES, Deployment, Environment, Job, MergeRequest, Pipeline
from gitpulse_sim.world import Project

STAGES: Mapping[str, Sequence[str]] = {"build": ("compile",), "test": ("unit", "lint")}
"""The jobs of a pipeline, by stage."""


async def start_pipeline(
    forge: Forge,
    project: Project,
    user: User,
    ref: str,
    *,
    commit: Commit,
    at: datetime,
    merge_request: MergeRequest | None = None,
    stages: Mapping[str, Sequence[str]] = STAGES,
) -> Pipeline:
    """A pipeline of a branch or tag, pending: its first stage waits for a runner, the others for that."""
    subject = Pipeline(
        id=forge.world.next_id("pipeline"), iid=len(project.pipelines) + 1, source_ref=ref, commit=commit, user=user,
        created_at=at, updated_at=at, merge_request=merge_request,
        source="merge_request_event" if merge_request else "push",
    )  # fmt: skip
    for stage, names in stages.items():
        for name in names:
            made = _job(forge, subject, user, name, stage, at)
            if stage == subject.stages[0]:
                made.status, made.queued_at = "pending", at
    project.pipelines.append(subject)
    project.repository.keep(commit.sha)
    await _tell(forge, project, subject, "pending", at, subject.jobs)
    return subject


async def step(forge: Forge, project: Project, one: Job, status: str, *, at: datetime) -> None:
    """One job goes on (`running`, or to its end), with its deployment and its pipeline, which runs stage by stage."""
    subject, jobs, one.status = one.pipeline, one.pipeline.jobs, status
    if status == "running":
        one.started_at = at
    else:
        one.finished_at = at
    waiting = [job for job in jobs if job.status == "created"]
    reached = next((job.stage for job in jobs if job.status != "success"), "")
    ready = [job for job in waiting if job.stage == reached]
    for job in ready:
        job.status, job.queued_at = "pending", at
    states = {job.status for job in jobs}
    if states & {"running", "pending"}:
        await _tell(forge, project, subject, "running", at, [one, *ready])
    else:
        for job in waiting:
            job.status = "skipped"
        ended = next((state for state in ("failed", "canceled") if state in states), "success")
        await _tell(forge, project, subject, ended, at, [one, *waiting])
    for made in project.deployments:
        if made.deployable is one:
            await change_deployment(forge, project, made, status, at=at)


async def retry(forge: Forge, project: Project, user: User, old: Job, *, at: datetime) -> Job:
    """Another job of that name, with which the pipeline runs again. The old one stays as it ended."""
    again = [job for job in old.pipeline.jobs if job.status == "skipped"]
    for job in again:
        job.status = "created"
    new = _job(forge, old.pipeline, user, old.name, old.stage, at, old.environment)
    new.status, new.queued_at, new.retries = "pending", at, old.retries + 1
    await _tell(forge, project, old.pipeline, "running", at, [new, *again])
    return new


async def _tell(
    forge: Forge, project: Project, subject: Pipeline, status: str, at: datetime, changed: Sequence[Job]
) -> None:
    """Says what became of a pipeline and of its jobs (those that changed).

    As in GitLab `started_at` and `finished_at` stay while a retried one runs again, durations are those of the newest
    job of each name, and one that waited for less than a second has no `queued_duration`.
    """
    for one in changed:
        one.duration = _seconds(one.started_at, one.finished_at or at)
        one.queued_duration = _seconds(one.queued_at, one.started_at or one.finished_at or at)
        one.failure_reason = "script_failure" if one.status == "failed" else None
    before, subject.status, subject.updated_at = subject.status, status, at
    if status == "running":
        subject.started_at = subject.started_at or at
    if status in FINAL_STATUSES:
        subject.finished_at = at
        subject.duration = _busy(subject.jobs) if subject.started_at else None
    subject.queued_duration = int(_seconds(subject.created_at, subject.started_at) or 0) or None
    for one in changed:
        await forge.tell(project, "job_events", job_event(forge.frame(project), subject, one))
    if status != before:
        await forge.tell(project, "pipeline_events", pipeline(forge.frame(project), subject))


def _job(
    forge: Forge, subject: Pipeline, user: User, name: str, stage: str, at: datetime,
    environment: Environment | None = None,
) -> Job:  # fmt: skip
    made = Job(
        id=forge.world.next_id("job"), name=name, stage=stage, user=user, created_at=at, pipeline=subject,
        environment=environment,
    )  # fmt: skip
    subject.all_jobs.append(made)
    return made


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _busy(jobs: Sequence[Job]) -> int:
    """For how many whole seconds at least one of them ran."""
    total, until = timedelta(), None
    for start, end in sorted((job.started_at, job.finished_at) for job in jobs if job.started_at and job.finished_at):
        since = start if until is None else max(start, until)
        total += max(end - since, timedelta())
        until = end if until is None else max(end, until)
    return int(total.total_seconds())


async def deploy(
    forge: Forge,
    project: Project,
    user: User,
    environment: str,
    *,
    at: datetime,
    commit: Commit,
    ref: str | None = None,
    job: Job | None = None,
) -> Deployment:
    """Begins to bring a commit to an environment, by a job or (without one) by a call of the API."""
    subject = Deployment(
        id=forge.world.next_id("deployment"), iid=len(project.deployments) + 1, commit=commit, user=user,
        environment=forge.world.environment(project, environment), ref=ref or project.default_branch, created_at=at,
        updated_at=at, deployable=job,
    )  # fmt: skip
    if job:
        job.environment = subject.environment
    project.deployments.append(subject)
    project.repository.keep(commit.sha)
    await change_deployment(forge, project, subject, "running", at=at)
    return subject


async def change_deployment(forge: Forge, project: Project, subject: Deployment, status: str, *, at: datetime) -> None:
    """Goes on, or ends: `running`, `success`, `failed`, `canceled`. Success links what it brought."""
    subject.status, subject.updated_at = status, at
    if status == "success":
        subject.succeeded_at = subject.succeeded_at or at
        subject.merge_requests = await _brought(project, subject)
    await forge.tell(project, "deployment_events", deployment(forge.frame(project), subject, at))


async def _brought(project: Project, subject: Deployment) -> list[MergeRequest]:
    """Those merged since the last successful deployment there; of a first one all that were merged into its branch."""
    merged = [one for one in project.merge_requests if one.merged_at]
    before = [
        one
        for one in project.deployments
        if one.environment is subject.environment and one.status == "success" and one.id < subject.id
    ]
    if not before:
        return [one for one in merged if one.target_branch == subject.ref]
    span = f"{before[-1].commit.sha}..{subject.commit.sha}"
    new = set((await asyncio.to_thread(project.repository.git, "rev-list", span)).split())
    return [one for one in merged if one.merge_commit_sha in new]
