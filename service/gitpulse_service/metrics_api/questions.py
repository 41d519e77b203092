"""What can be asked: the parameters of every route, and the moments that they mean."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.store.spans import Span, buckets

Bucket = Literal["day", "week", "month", "quarter", "year"]
Group = Literal["project", "person", "team", "label"]

SHOWN = 30
"""Buckets that are answered where no start is asked for."""
MOST_BUCKETS = 1200
"""Over three years of days."""
_DAYS = dict(zip(get_args(Bucket), (1, 7, 31, 92, 366), strict=True))
"""The longest that each may be."""


def _moment(text: Any) -> datetime:  # noqa: ANN401 -- whatever was sent
    for candidate in (str(text).upper(), str(text).upper().replace(" ", "+")):  # an offset's + that nobody encoded
        try:
            return datetime.fromisoformat(candidate)
        except (ValueError, OverflowError):
            continue
    raise ValueError("must be an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z")


_FORMATS = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema(_FORMATS)]
Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]


class Asked(BaseModel):
    """What every route takes; anything else is refused by its name."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["json", "csv"] | None = Field(None, description="Goes before the `Accept` header.")


class Paged(Asked):
    """A list's page."""

    limit: int = Field(1000, ge=1, le=10_000, description="Most items of a page.")
    cursor: Text | None = Field(None, description="The `next` of the page before.")


class One(Asked):
    """Which of several."""

    instance: Text | None = Field(None, description="Base URL of the GitLab, where several have such a project.")


class When(Asked):
    """A span of time."""

    from_: Moment | None = Field(None, alias="from", description="The span's start. Without an offset it is in `tz`.")
    to: Moment | None = Field(None, description="The first moment behind the span.")
    tz: Text | None = Field(
        None, description="Time zone of midnights. Without: the team's, else UTC.", examples=["Europe/Berlin"]
    )
    bots: bool = Field(True, description="Whether what bots did counts too.")

    def zone(self, default: str = "UTC") -> ZoneInfo:
        """The time zone that was asked for. Raises Problem where there is none of the name."""
        name = self.tz or default
        if name not in _zones():
            raise _senseless(f"there is no time zone {name}; name one like Europe/Berlin, or UTC")
        return ZoneInfo(name)

    def span(self, zone: ZoneInfo, *, last: timedelta | None = None) -> Span:
        """What was asked for; without a start, all before the end, or the `last` of it. Raises Problem."""
        try:
            start, end = (
                at and (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(zone).astimezone(UTC)
                for at in (self.from_, self.to)
            )
            if last:
                end = end or datetime.now(UTC).replace(microsecond=0)
                start = start or end - last
        except OverflowError:
            raise _senseless("from and to must lie within the years 1 to 9999 in every time zone") from None
        if start and end and start > end:
            raise _senseless("from must not be later than to")
        return Span(start, end)


class WhenOfProject(When, One):
    """A span of time of one project."""

    team: Text | None = Field(None, description="What the members of this team did there.")


class Whose(When):
    """A span of time, and whose."""

    project: list[Text] = Field([], max_length=100, description="GitLab's id or the full path; several may be named.")
    instance: Text | None = Field(None, description="Base URL of the GitLab, where several have such a project.")
    team: Text | None = Field(None, description="What the members of this team did.")
    person: Text | None = Field(None, description="What this person did.")


class Question(Whose, Paged):
    """A question for one metric."""

    bucket: Bucket | None = Field(None, description=f"Cuts the span; without `from`, the last {SHOWN} are answered.")
    group_by: Group | None = Field(None, description="Groups without a fact are left out.")

    def edges(self, zone: ZoneInfo) -> tuple[Span, list[datetime]]:
        """The span, and the moments at which its buckets begin and end. Raises Problem for too many."""
        assert self.bucket
        now = datetime.now(UTC)
        span = self.span(zone)
        try:
            end = span.end or buckets(Span(now, now + timedelta(seconds=1)), self.bucket, zone)[-1]
            start = span.start or end - (SHOWN + 1) * timedelta(days=_DAYS[self.bucket])
            if (end - start).days > MOST_BUCKETS * _DAYS[self.bucket]:
                raise _senseless(f"more than {MOST_BUCKETS} buckets: ask for a shorter span, or for longer buckets")
            edges = buckets(Span(start, end), self.bucket, zone)
        except OverflowError:
            raise _senseless("from and to must lie well within the years 1 to 9999") from None
        edges = edges if span.start else edges[-SHOWN - 1 :]
        return Span(span.start or edges[0], end), edges


def _senseless(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


@cache
def _zones() -> set[str]:
    return zoneinfo.available_timezones()


Ask: TypeAlias = Annotated[Asked, Query()]
AskPage: TypeAlias = Annotated[Paged, Query()]
AskOne: TypeAlias = Annotated[One, Query()]
AskWhen: TypeAlias = Annotated[When, Query()]
AskWhenOfProject: TypeAlias = Annotated[WhenOfProject, Query()]
AskWhose: TypeAlias = Annotated[Whose, Query()]
AskQuestion: TypeAlias = Annotated[Question, Query()]
