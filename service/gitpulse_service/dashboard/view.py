"""What a page is asked to show: the range and the filters in its URL, and the questions that follow from them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response
from pydantic import Field, model_validator

from gitpulse_service.dashboard.door import Viewer
from gitpulse_service.metrics_api import models, numbers
from gitpulse_service.metrics_api.caller import Caller
from gitpulse_service.metrics_api.questions import Bucket, Group, Question, Text, Whose
from gitpulse_service.store.queries import Whose as Filters
from gitpulse_service.store.spans import Span, midnight

RANGES = {"7d": 7, "30d": 30, "90d": 90, "1y": 365}
"""Days, the present one included."""
DEFAULT = "30d"
KEPT = ("range", "from", "to", "bucket", "tz", "team", "project", "instance", "bots")
"""Parameters that links keep."""
ALL = (*KEPT, "person", "label", "largest", "q")
"""Those that links to the same page keep too."""


class Asked(Whose):
    """The parameters of every page: those of the API by their names, and a range that goes on with time."""

    range: Literal["7d", "30d", "90d", "1y"] | None = Field(None, description="Instead of from and to.")
    bucket: Bucket | None = None
    q: Text | None = Field(None, description="What names in a list hold.")
    csv: Text | None = Field(None, description="The card that is wanted as CSV, instead of the page.")
    label: Text | None = Field(None, description="Only facts with this label.")
    largest: bool = Field(False, description="The largest values instead of the newest facts.")

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:  # noqa: ANN401 -- whatever was sent
        """A form sends what nobody has filled in too."""
        return {name: it for name, it in given.items() if it not in ("", [""])} if isinstance(given, dict) else given


AskPage: TypeAlias = Annotated[Asked, Query()]


@dataclass(frozen=True, slots=True)
class View:
    """One page's questions. They raise Problem and StoreUnavailable."""

    request: Request
    viewer: Viewer
    asked: Asked
    zone: ZoneInfo
    span: Span
    """With a start; without an end it goes on."""
    whose: Filters
    fixed: Mapping[str, str]
    """What the page is about, and no filter changes: its team, person or project."""
    _answers: dict[object, asyncio.Future[models.Series]] = field(default_factory=dict, repr=False)

    @property
    def caller(self) -> Caller:
        return self.viewer.caller

    @property
    def start(self) -> datetime:
        """Of the range."""
        assert self.span.start
        return self.span.start

    @property
    def end(self) -> datetime:
        """Of the range, or now."""
        return self.span.end or datetime.now(UTC)

    @property
    def before(self) -> Span:
        """As long a span, just before; shorter where there are no such years."""
        return Span(self.start - min(self.end - self.start, self.start - datetime.min.replace(tzinfo=UTC)), self.start)

    @property
    def bucket(self) -> Bucket:
        """As it was asked for, or what suits the span."""
        days = (self.end - self.start).days
        return self.asked.bucket or ("day" if days <= 45 else "week" if days <= 400 else "month")

    async def series(self, metric: str, *, cut: bool = False, group_by: Group | None = None) -> models.Series:
        """What the API says of a metric in this view; several cards may ask the same, and it is asked once."""
        key = metric, cut, group_by
        if key not in self._answers:
            self._answers[key] = asyncio.ensure_future(self._series(metric, cut=cut, group_by=group_by))
        return await self._answers[key]

    async def _series(self, metric: str, *, cut: bool, group_by: Group | None) -> models.Series:
        asked = self.asked.model_dump(by_alias=True, include={"team", "person", "project", "instance", "bots"})
        asked |= {"from": self.span.start, "to": self.span.end, "tz": self.zone.key, "limit": 10_000}
        asked |= {"bucket": self.bucket if cut else None, "group_by": group_by}
        return await numbers.series(metric, Question(**asked), self.caller, self.request, Response())

    def href(self, path: str, **changes: str | None) -> str:
        """A link that keeps range and filters, but for the changes (`from_` for `from`; None takes one away)."""
        return href(self.request, path, **changes)

    def again(self, **changes: str | None) -> str:
        """A link to this page as it is, but for the changes."""
        return href(self.request, self.request.url.path, ALL, **changes)

    def behind(self, metric: str, **changes: str | None) -> str:
        """The page of the objects behind a figure of this one."""
        return self.href(f"/behind/{metric}", **{**self.fixed, **changes})


def href(request: Request, path: str, keep: Collection[str] = KEPT, /, **changes: str | None) -> str:
    """A link from one page to another, see `View.href`."""
    changed = {name.rstrip("_"): it for name, it in changes.items()}
    items = request.query_params.multi_items()
    kept = [(name, it) for name, it in items if it and name in keep and name not in changed]
    query = urlencode([*kept, *((name, it) for name, it in changed.items() if it is not None)])
    return f"{path}?{query}" if query else path


async def look(request: Request, viewer: Viewer, asked: Asked, **fixed: str) -> View:
    """The view that was asked for, of one team, person or project where that is `fixed`. Raises Problem."""
    asked = asked.model_copy(update={k: [v] if k == "project" else v for k, v in fixed.items()})
    caller = viewer.caller
    if caller.teams and not asked.team and not asked.person:  # who may not see all sees one team at a time
        asked = asked.model_copy(update={"team": min(caller.teams)})
    default, filters = await numbers.whose(asked, caller)
    zone = asked.zone(default)
    days = RANGES[asked.range or DEFAULT]
    if asked.from_ or asked.to:
        span = asked.span(zone, last=timedelta(days=days))
    else:
        today = datetime.now(zone).date()
        span = Span(midnight(today - timedelta(days=days - 1), zone))
    return View(request, viewer, asked, zone, span, Filters(**filters), fixed)  # type: ignore[typeddict-item]
