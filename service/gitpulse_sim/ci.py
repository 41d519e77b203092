"""What the machinery does with code: pipelines and their jobs. Each step tells the hooks."""

from __future__ import annotations

from datetime import datetime

from gitpulse_sim.errors import BadRequest
from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.ci import job, pipeline
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit
from gitpulse_sim.work import FINAL_STATUSES, Job, MergeRequest, Pipeline, PipelineStatus
from gitpulse_sim.world import Project

STAGES = {"build": ("compile",), "test": ("unit", "lint")}
"""The jobs of a pipeline, by stage."""


async def start_pipeline(
    forge: Forge,
    project: Project,
    user: User,
    ref: str,
    *,
    commit: Commit,
    at: datetime,
    before: str = ZEROS,
    merge_request: MergeRequest | None = None,
) -> Pipeline:
    """A pipeline of a branch or tag, pending."""
    world = forge.world
    subject = Pipeline(
        id=world.next_id("pipeline"), iid=len(project.pipelines) + 1, ref=ref, commit=commit, before_sha=before,
        user=user, created_at=at, updated_at=at, merge_request=merge_request,
        source="merge_request_event" if merge_request else "push",
        jobs=[
            Job(id=world.next_id("job"), name=name, stage=stage, created_at=at)
            for stage, names in STAGES.items()
            for name in names
        ],
    )  # fmt: skip
    project.pipelines.append(subject)
    await _tell(forge, project, subject, "pending", at)
    return subject


async def run_pipeline(forge: Forge, project: Project, subject: Pipeline, *, at: datetime) -> None:
    """The runner takes it."""
    for one in (subject, *subject.jobs):
        one.started_at = at
    await _tell(forge, project, subject, "running", at)


async def finish_pipeline(
    forge: Forge, project: Project, subject: Pipeline, status: PipelineStatus, *, at: datetime
) -> None:
    """Ends with a final status; of a failed one the last job failed. Raises BadRequest."""
    if status not in FINAL_STATUSES:
        raise BadRequest(f"{status} is not a status that a pipeline ends with; use one of {', '.join(FINAL_STATUSES)}")
    for one in (subject, *subject.jobs):
        one.finished_at = at
    await _tell(forge, project, subject, status, at)


async def _tell(forge: Forge, project: Project, subject: Pipeline, status: PipelineStatus, at: datetime) -> None:
    subject.status, subject.updated_at = status, at
    for one in subject.jobs:
        one.status = "success" if status == "failed" and one is not subject.jobs[-1] else status
        one.failure_reason = "script_failure" if one.status == "failed" else None
        await forge.tell(project, "job_events", job(forge.frame, project, subject, one))
    await forge.tell(project, "pipeline_events", pipeline(forge.frame, project, subject))
