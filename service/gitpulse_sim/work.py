"""What people make in a project, as plain records: merge requests, issues, notes, pipelines, deployments, releases."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit

State = Literal["opened", "closed", "merged"]
STATE_IDS = {"opened": 1, "closed": 2, "merged": 3, "locked": 4}
FINAL_STATUSES = ("success", "failed", "canceled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A project's label."""

    id: int
    title: str
    project_id: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEvent:
    """That somebody closed, reopened or merged something."""

    id: int
    user: User
    created_at: datetime
    state: str


@dataclass(slots=True, kw_only=True, eq=False)
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
    state_events: list[StateEvent] = field(default_factory=list)

    @property
    def state_id(self) -> int:
        return STATE_IDS[self.state]


@dataclass(slots=True, kw_only=True, eq=False)
class MergeRequest(Discussed):
    """A merge request within one project."""

    source_branch: str
    target_branch: str
    last_commit: Commit
    """Of the source branch."""
    reviewers: list[User] = field(default_factory=list)
    approved_by: list[User] = field(default_factory=list)
    approvals: list[tuple[datetime, User]] = field(default_factory=list)
    """All there ever were, also those that were withdrawn."""
    approvals_required: int = 1
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None
    merge_user: User | None = None
    merged_at: datetime | None = None
    actioned_at: datetime | None = None
    """Of the newest action that left `updated_at` alone (an approval)."""

    @property
    def page(self) -> str:
        return f"merge_requests/{self.iid}"


@dataclass(slots=True, kw_only=True, eq=False)
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


@dataclass(slots=True, kw_only=True, eq=False)
class Note:
    """A comment on a merge request, an issue or a commit; or the machine's own, which no hook hears of."""

    id: int
    body: str
    author: User
    target: MergeRequest | Issue | Commit
    created_at: datetime
    internal: bool = False
    system: bool = False

    @property
    def noteable_type(self) -> str:
        return type(self.target).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where things are deployed to."""

    id: int
    name: str
    tier: str
    created_at: datetime

    @property
    def slug(self) -> str:
        return self.name.replace("/", "-")


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """What the machinery runs: a job, or the pipeline of all. Its durations are what GitLab said of it last."""

    id: int
    user: User
    created_at: datetime
    status: str = "created"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: float | None = None
    queued_duration: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Job(Run):
    """One job of a pipeline; a retry is another one of that name."""

    name: str
    stage: str
    pipeline: Pipeline = field(repr=False)
    queued_at: datetime | None = None
    """When its stage began."""
    retries: int = 0
    failure_reason: str | None = None
    environment: Environment | None = None

    @property
    def page(self) -> str:
        return f"jobs/{self.id}"


@dataclass(slots=True, kw_only=True, eq=False)
class Pipeline(Run):
    """One run of a project's CI."""

    iid: int
    source_ref: str
    commit: Commit
    before_sha: str = ZEROS
    updated_at: datetime
    source: str = "push"
    tag: bool = False
    merge_request: MergeRequest | None = None
    all_jobs: list[Job] = field(default_factory=list)
    """Also those that were retried."""

    @property
    def page(self) -> str:
        return f"pipelines/{self.id}"

    @property
    def ref(self) -> str:
        """What the API calls its ref; events tell the source branch."""
        return f"refs/merge-requests/{self.merge_request.iid}/head" if self.merge_request else self.source_ref

    @property
    def jobs(self) -> list[Job]:
        """The newest of each name, stage by stage."""
        return list({job.name: job for job in self.all_jobs}.values())

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(job.stage for job in self.all_jobs))


@dataclass(slots=True, kw_only=True, eq=False)
class Deployment:
    """That a commit was brought to an environment, by a job or by a call of the API."""

    id: int
    iid: int
    environment: Environment
    ref: str
    commit: Commit
    user: User
    created_at: datetime
    updated_at: datetime
    status: str = "created"
    deployable: Job | None = None
    succeeded_at: datetime | None = None
    merge_requests: list[MergeRequest] = field(default_factory=list)
    """What it brought, linked when it succeeded."""


@dataclass(slots=True, kw_only=True, eq=False)
class Release:
    """What is said of a tag."""

    id: int
    tag_name: str
    name: str
    description: str
    author: User
    commit: Commit
    created_at: datetime
    released_at: datetime

    @property
    def page(self) -> str:
        return f"releases/{self.tag_name}"
