"""What people make in a project, as plain records: merge requests, issues, notes, pipelines, releases."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit

PipelineStatus = Literal["pending", "running", "success", "failed", "canceled", "skipped"]
MergeRequestState = Literal["opened", "closed", "merged"]
FINAL_STATUSES = ("success", "failed", "canceled", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A project's label."""

    id: int
    title: str
    color: str
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class MergeRequest:
    """A merge request within one project."""

    id: int
    iid: int
    title: str
    description: str
    author: User
    source_branch: str
    target_branch: str
    created_at: datetime
    updated_at: datetime
    last_commit: Commit
    """Of the source branch."""
    state: MergeRequestState = "opened"
    draft: bool = False
    assignees: list[User] = field(default_factory=list)
    reviewers: list[User] = field(default_factory=list)
    approved_by: list[User] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    merge_commit_sha: str | None = None
    merge_user: User | None = None
    merged_at: datetime | None = None
    actioned_at: datetime | None = None
    """Of the newest action that left `updated_at` alone (an approval)."""
    closed_at: datetime | None = None
    closed_by: User | None = None


@dataclass(slots=True, kw_only=True)
class Issue:
    """An issue, or a work item of another type."""

    id: int
    iid: int
    title: str
    description: str
    author: User
    created_at: datetime
    updated_at: datetime
    type: str = "Issue"
    state: Literal["opened", "closed"] = "opened"
    confidential: bool = False
    assignees: list[User] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    closed_at: datetime | None = None
    closed_by: User | None = None


@dataclass(slots=True, kw_only=True)
class Note:
    """A comment on a merge request, an issue or a commit."""

    id: int
    body: str
    author: User
    target: MergeRequest | Issue | Commit
    created_at: datetime
    internal: bool = False

    @property
    def noteable_type(self) -> str:
        return type(self.target).__name__


@dataclass(slots=True, kw_only=True)
class Job:
    """One job of a pipeline."""

    id: int
    name: str
    stage: str
    created_at: datetime
    status: str = "created"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure_reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """One run of a project's CI."""

    id: int
    iid: int
    ref: str
    commit: Commit
    before_sha: str
    user: User
    created_at: datetime
    updated_at: datetime
    jobs: list[Job]
    source: str = "push"
    status: PipelineStatus = "pending"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    merge_request: MergeRequest | None = None

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(job.stage for job in self.jobs))


@dataclass(slots=True, kw_only=True)
class Release:
    """A release of a tag."""

    id: int
    name: str
    tag: str
    description: str
    commit: Commit
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class Deployment:
    """One deployment of a commit to an environment."""

    id: int
    environment: str
    tier: str
    status: str
    commit: Commit
    user: User
    job: Job | None = None
    created_at: datetime
    status_changed_at: datetime
