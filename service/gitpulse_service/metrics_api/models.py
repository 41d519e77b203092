"""What the query API answers with; these shapes are its OpenAPI schema."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class ListOf(BaseModel, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next: str | None = Field(
        description="The `cursor` of the next page, which a `Link` header names too; null: the end."
    )


class Project(BaseModel):
    """A project that at least one event told of."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(validation_alias="gitlab_id", description="The project's id on its GitLab.", examples=[42])
    path: str | None = Field(description="Full path; null until an event tells it.", examples=["acme/website"])
    name: str | None = Field(examples=["Website"])
    instance: str = Field(description="Base URL of its GitLab.", examples=["https://gitlab.example.com"])
    web_url: str | None = Field(examples=["https://gitlab.example.com/acme/website"])
    last_event_at: datetime = Field(description="When the newest event was received.")


class Metric(BaseModel):
    """A metric of docs/metrics.md."""

    name: str = Field(examples=["time_to_merge"])
    unit: str = Field(examples=["seconds"])
    group_by: list[str] = Field(description="By what it can be grouped.", examples=[["project", "person", "team"]])
    buckets: bool = Field(description="Whether it can be cut into buckets.")
    meaning: str


class Figures(BaseModel):
    """How many facts there are, and for metrics that measure something what their values come to, in the unit."""

    count: int = Field(examples=[3])
    sum: int | float | None = Field(examples=[5400])
    mean: int | float | None = Field(examples=[1800])
    p50: int | float | None = Field(examples=[1500])
    p75: int | float | None = Field(examples=[2100])
    p90: int | float | None = Field(examples=[2100])
    p95: int | float | None = Field(examples=[2100])


class Of(BaseModel):
    """Which metric it is."""

    metric: str = Field(examples=["time_to_merge"])
    unit: str = Field(examples=["seconds"])


class Place(BaseModel):
    """Which bucket and group it is."""

    start: datetime | None = Field(description="The bucket's start, or the span's; null: without bound.")
    end: datetime | None = Field(description="The first moment behind it.")
    group: str | int | None = Field(
        description="Project, person, team or label; null: nobody's, or without `group_by`."
    )


class Row(Figures, Place):
    """One bucket of one group."""


class SummaryRow(Figures, Of):
    """One metric within the span."""


class Asked(BaseModel):
    """The span that was asked for."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: datetime | None = Field(serialization_alias="from", description="null: without bound.")
    to: datetime | None
    time_zone: str = Field(examples=["Europe/Berlin"])


class Series(ListOf[Row], Asked, Of):
    """A metric's answer, the oldest bucket first."""


class Summary(Asked):
    """Every metric of one project, team or person within a span."""

    project: Project | None = None
    team: str | None = Field(None, examples=["web"])
    person: str | None = Field(None, examples=["Ann Lee"])
    items: list[SummaryRow]


class Dora(Asked):
    """The four keys of DORA; null where there is nothing to divide by, or no value."""

    deployments_per_day: int | float | None = Field(examples=[0.5])
    lead_time_for_changes: float | None = Field(description="Median, seconds.", examples=[2700])
    time_to_restore: float | None = Field(description="Median, seconds.", examples=[5400])
    change_failure_rate: float | None = Field(description="Incidents by deployments.", examples=[0.05])
    deployments: int
    incidents: int


class Team(BaseModel):
    """A team of the map of people."""

    name: str = Field(examples=["web"])
    time_zone: str = Field(examples=["Europe/Berlin"])
    members: list[str] = Field(examples=[["Ann Lee", "Ben Okafor"]])


class Person(BaseModel):
    """A person of the map of people."""

    name: str = Field(examples=["Ann Lee"])
    teams: list[str] = Field(examples=[["web"]])


class Unmatched(BaseModel):
    """A name, an address or an account that is nobody's and no bot's."""

    model_config = ConfigDict(from_attributes=True)

    name: str | None = Field(examples=["A. Lee"])
    email: str | None = Field(examples=["ann@home.example"])
    username: str | None = Field(examples=["ann"])
    commits: int
    other: int = Field(description="How much else was done under it.")
    suggestions: dict[str, str] = Field(
        description="Who it may be, and why.", examples=[{"Ann Lee": "has ann elsewhere"}]
    )


class Backfill(BaseModel):
    """How far the fetching of a history has come."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(examples=["project/42"])
    state: str = Field(description="Running, Done or Failed.", examples=["Running"])


class Hook(BaseModel):
    """A hook that the operator looks after, or a resource that has none yet."""

    resource: str = Field(description="`namespace/name` of the GitPulseProject.", examples=["default/website"])
    state: str = Field(
        description="delivering, quiet, new, refused, unreachable, disabled, failing, suspended or unknown."
    )
    reason: str = Field(examples=["Proven"])
    message: str = Field(description="Why, and what to do.")
    instance: str | None = Field(examples=["https://gitlab.example.com"])
    kind: str | None = Field(description="Project or Group.", examples=["Project"])
    path: str | None = Field(examples=["acme/website"])
    hook: int | None = Field(description="GitLab's id of it.", examples=[7])
    url: str | None = Field(description="Its page in GitLab.")
    last_delivery_at: datetime | None = Field(description="The last authentic one.")
    last_refused_at: datetime | None
    refused_reason: str | None
    secret: dict[str, Any] = Field(description="As `status.secret`: generation, type, phase, rotatedAt.")
    revivals: dict[str, Any] = Field(description="As `status.revivals`: count, lastAt.")
    repair: dict[str, Any] = Field(description="As `status.repair`: the last gap that was filled.")


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
