"""What the query API answers with; these shapes are its OpenAPI schema."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class Project(BaseModel):
    """A project that at least one event told of."""

    id: int = Field(description="The project's id on its GitLab.")
    path: str | None = Field(description="Full path, such as `acme/website`; null until an event tells it.")
    name: str | None
    instance: str = Field(description="Base URL of its GitLab.")
    web_url: str | None
    last_event_at: datetime = Field(description="When the newest event was received.")


class Projects(BaseModel):
    """All projects, by path."""

    projects: list[Project]


class Author(BaseModel):
    """Somebody's commits; name and e-mail are null where GitLab sent only redacted ones."""

    name: str | None
    email: str | None
    commits: int


class Commits(BaseModel):
    """Commits, each once however many pushes listed it."""

    total: int
    authors: list[Author] = Field(description="Those with most commits first.")


class MergeRequests(BaseModel):
    """Merge requests by the time of what happened to them."""

    opened: int
    merged: int
    closed: int = Field(description="Closed without a merge, and not reopened since.")


class Issues(BaseModel):
    """Issues by the time of what happened to them."""

    opened: int
    closed: int = Field(description="Closed, and not reopened since.")


class Pipelines(BaseModel):
    """Pipelines by their creation, in their present status."""

    total: int
    success: int
    failed: int
    canceled: int
    skipped: int


class Summary(BaseModel):
    """One project's counts in `[from, to)`; `docs/metrics.md` defines each."""

    project: Project
    from_: datetime | None = Field(serialization_alias="from")
    to: datetime | None
    pushes: int
    commits: Commits
    merge_requests: MergeRequests
    issues: Issues
    pipelines: Pipelines


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
