"""What people make in a project, as plain records: merge requests, issues, notes, pipelines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit

PipelineStatus = Literal["pending", "running", "success", "failed", "canceled", "skipped"]
State = Literal["opened", "closed", "merged"]
STATE_IDS = {"opened": 1, "closed": 2, "merged": 3, "locked": 4}
FINAL_STATUSES = ("success", "failed", "canceled", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A project's label."""

    id: int
    title: str
    color: str
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class Discussed:
    """What a merge request and an issue have in common."""

    id: int
    iid: int
    title: str
    description: str
    author: User
    created_at: datetime
    updated_at: datetime
    state: State = "opened"
    assignees: list[User] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    closed_at: datetime | None = None
    closed_by: User | None = None

    @property
    def state_id(self) -> int:
        return STATE_IDS[self.state]


@dataclass(slots=True, kw_only=True)
class MergeRequest(Discussed):
    """A merge request within one project."""

    source_branch: str
    target_branch: str
    last_commit: Commit
    """Of the source branch."""
    draft: bool = False
    reviewers: list[User] = field(default_factory=list)
    approved_by: list[User] = field(default_factory=list)
    merge_commit_sha: str | None = None
    merge_user: User | None = None
    merged_at: datetime | None = None
    actioned_at: datetime | None = None
    """Of the newest action that left `updated_at` alone (an approval)."""

    @property
    def page(self) -> str:
        return f"merge_requests/{self.iid}"


@dataclass(slots=True, kw_only=True)
class Issue(Discussed):
    """An issue, or a work item of another type."""

    type: str = "Issue"
    confidential: bool = False

    @property
    def issue_type(self) -> str:
        return self.type.lower()

    @property
    def page(self) -> str:
        return f"issues/{self.iid}" if self.type == "Issue" else f"work_items/{self.iid}"


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
class Run:
    """What the machinery runs: a job, or the pipeline of all."""

    whole_seconds: ClassVar[bool] = False
    """GitLab rounds a pipeline's durations, and a job's not."""
    id: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def duration(self) -> float | None:
        return self._seconds(self.started_at, self.finished_at)

    @property
    def queued_duration(self) -> float | None:
        return self._seconds(self.created_at, self.started_at)

    def _seconds(self, start: datetime | None, end: datetime | None) -> float | None:
        if start is None or end is None:
            return None
        seconds = (end - start).total_seconds()
        return int(seconds) if self.whole_seconds else seconds


@dataclass(slots=True, kw_only=True)
class Job(Run):
    """One job of a pipeline."""

    name: str
    stage: str
    status: str = "created"
    failure_reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Pipeline(Run):
    """One run of a project's CI."""

    whole_seconds = True
    iid: int
    ref: str
    commit: Commit
    before_sha: str
    user: User
    updated_at: datetime
    jobs: list[Job]
    source: str = "push"
    status: PipelineStatus = "pending"
    merge_request: MergeRequest | None = None

    @property
    def page(self) -> str:
        return f"pipelines/{self.id}"

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(job.stage for job in self.jobs))
