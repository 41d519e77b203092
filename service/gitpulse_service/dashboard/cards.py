"""Cards: each a question for a metric, its answer as a table, and how that is drawn. CSV is made of the same table."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from gitpulse_service.dashboard import shown
from gitpulse_service.dashboard.view import View
from gitpulse_service.metrics_api import models
from gitpulse_service.store import queries
from gitpulse_service.store.facts import METRICS
from gitpulse_service.store.objects import Fact

Chart = Literal["bar", "line", "stack"]
STATUSES = ("success", "failed", "canceled", "running", "pending")
Figure = tuple[str, str]
"""A metric, and what of it is shown: count, sum, mean, p50, …"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a card's table."""

    name: str
    unit: str = "count"
    """count, files, seconds, ratio; text for anything else."""
    bars: bool = False
    """Whether a bar shows how large each value is among the others."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, and where it leads."""

    value: Any
    href: str | None = None
    heat: int | None = None
    """From 0 to 7: how it is coloured."""
    badge: str | None = None
    """Whether it is `good`, `bad`, to `warn` of, or to stay `calm` about."""


@dataclass(frozen=True, slots=True)
class Card:
    """A figure with its table."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    metrics: Collection[str] = ()
    """Whose definitions and objects it links to."""
    chart: Chart | None = None
    wide: bool = False
    heated: bool = False
    """Whether it is coloured by its values."""
    note: str = ""
    empty: str = "Nothing in this range."

    def table(self) -> dict[str, Any]:
        """As the API has answers, for CSV."""
        names = [column.name for column in self.columns]
        return {"items": [dict(zip(names, (_plain(it.value) for it in row), strict=True)) for row in self.rows]}

    def most(self) -> list[Any]:
        """The largest value of each column with bars."""
        rows = self.rows
        return [it.bars and max((row[i].value or 0 for row in rows), default=0) for i, it in enumerate(self.columns)]


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure, against the range before."""

    title: str
    metric: str
    value: Any
    before: Any
    unit: str
    better: Literal["more", "less"] | None
    points: str = field(repr=False)
    """Of its line over time."""

    @property
    def change(self) -> float | None:
        """As a ratio of what it was; of a ratio in points."""
        if self.value is None or self.before is None or not (self.before or self.unit == "ratio"):
            return None
        return float(self.value - self.before if self.unit == "ratio" else self.value / self.before - 1)

    @property
    def verdict(self) -> str:
        """Whether that is good: `good`, `bad`, or nothing."""
        if not self.better or not self.change:
            return ""
        return "good" if (self.change > 0) == (self.better == "more") else "bad"


def figure_unit(metric: str, figure: str) -> str:
    """In which unit it is shown."""
    return "count" if figure == "count" else METRICS[metric].unit


TILES: Mapping[str, tuple[str, str, Literal["more", "less"] | None]] = {
    "commits": ("Commits", "count", None),
    "merge_requests_merged": ("Merges", "count", None),
    "time_to_merge": ("Time to merge, median", "p50", "less"),
    "time_to_first_review": ("First review, median", "p50", "less"),
    "reviews": ("Reviews", "count", None),
    "pipeline_success_rate": ("Pipeline success", "mean", "more"),
    "pipeline_duration": ("Pipeline duration, median", "p50", "less"),
    "pipeline_queue_time": ("Waiting for a runner, median", "p50", "less"),
    "time_to_green": ("Time to green, median", "p50", "less"),
    "job_success_rate": ("Job success", "mean", "more"),
    "deployments": ("Deployments", "count", None),
    "merge_requests_opened": ("Merge requests opened", "count", None),
}


async def together(*asked: Awaitable[Any]) -> list[Any]:
    """All answers. What one raises is raised when all are done: nothing is to go on when its page has been answered."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for it in answers:
        if isinstance(it, BaseException):
            raise it
    return answers


async def tiles(view: View, *metrics: str) -> list[Tile]:
    """Key figures by the names of their metrics."""
    spans = (queries.totals(view.caller.engine, metrics, span, **view.whose) for span in (view.span, view.before))
    cut = (view.series(it, cut=True) for it in metrics)
    now, before, *lines = await together(*spans, *cut)
    found = []
    for metric, line in zip(metrics, lines, strict=True):
        title, figure, better = TILES[metric]
        value, was = (getattr(of[metric], figure) for of in (now, before))
        points = shown.spark([getattr(row, figure) for row in line.items])
        found.append(Tile(title, metric, value, was, figure_unit(metric, figure), better, points))
    return found


async def over_time(view: View, title: str, chart: Chart, lines: Mapping[str, Figure], **more: Any) -> Card:  # noqa: ANN401
    """Figures by bucket; `lines` are by their names."""
    answers = await asyncio.gather(*(view.series(metric, cut=True) for metric, _ in lines.values()))
    columns = [Column(name, figure_unit(*figure)) for name, figure in lines.items()]
    rows = [
        [Cell(_day(view, each[0])), *(Cell(getattr(row, of), _bucket(view, metric, row))
                                      for row, (metric, of) in zip(each, lines.values(), strict=True))]
        for each in zip(*(answer.items for answer in answers), strict=True)
    ]  # fmt: skip
    known = any(cell.value for row in rows for cell in row[1:])
    metrics = list(dict.fromkeys(metric for metric, _ in lines.values()))
    return Card(title, [Column(view.bucket.title(), "text"), *columns], rows if known else [], metrics, chart, **more)


def charts(view: View) -> dict[str, Callable[[], Awaitable[Card]]]:
    """What goes on, by time."""
    merges = {"Opened": ("merge_requests_opened", "count"), "Merged": ("merge_requests_merged", "count")}
    return {
        "commits": partial(over_time, view, "Commits", "bar", {"Commits": ("commits", "count")}),
        "merge-requests": partial(over_time, view, "Merge requests", "line", merges),
        "pipelines": partial(by_status, view),
    }


async def by_status(view: View) -> Card:
    """How many pipelines by bucket, stacked by what became of them."""
    cut, split = await asyncio.gather(*(view.series("pipelines", cut=True, group_by=it) for it in (None, "label")))
    counts: defaultdict[datetime | None, Counter[str]] = defaultdict(Counter)
    for row in split.items:
        counts[row.start][str(row.group) if row.group in STATUSES else "other"] += row.count
    used = [it for it in (*STATUSES, "other") if any(of[it] for of in counts.values())]
    rows = [
        [Cell(_day(view, row)),
         *(Cell(counts[row.start][it], _bucket(view, "pipelines", row, None if it == "other" else it)) for it in used)]
        for row in cut.items
    ]  # fmt: skip
    columns = [Column(view.bucket.title(), "text"), *(Column(it.title()) for it in used)]
    return Card("Pipelines", columns, rows if used else [], ["pipelines"], "stack")


async def by_group(
    view: View, title: str, group: Literal["project", "person", "team"], figures: Mapping[str, Figure],
    *, known: Collection[str] = (), search: str | None = None, most: int | None = None, **more: Any,  # noqa: ANN401
) -> Card:  # fmt: skip
    """A row for each project, person or team with facts, and those that are `known`; by the first figure."""
    answers = await asyncio.gather(*(view.series(metric, group_by=group) for metric, _ in figures.values()))
    found: defaultdict[Any, dict[str, Any]] = defaultdict(dict, {name: {} for name in known})
    for (name, (_, figure)), answer in zip(figures.items(), answers, strict=True):
        for row in answer.items:
            found[row.group][name] = getattr(row, figure)
    first, wanted = next(iter(figures)), (search or "").casefold()
    order = sorted(found, key=lambda it: (-(found[it].get(first) or 0), it is None, str(it)))
    order = [it for it in order if wanted in str(it or "").casefold()][:most]
    columns = [Column(group.title(), "text"), *(Column(n, figure_unit(*of), n == first) for n, of in figures.items())]
    rows = [
        [Cell(name if name is not None else "nobody known", None if name is None else place(view, group, str(name))),
         *(Cell(found[name].get(it, 0 if of == "count" else None),
                None if name is None else view.behind(metric, **{group: str(name)}))
           for it, (metric, of) in figures.items())]
        for name in order
    ]  # fmt: skip
    return Card(title, columns, rows, [metric for metric, _ in figures.values()], **more)


def facts(view: View, title: str, metric: str, found: Sequence[Fact], **more: Any) -> Card:  # noqa: ANN401
    """Facts one by one, each with its object in GitLab."""
    it = METRICS[metric]
    labelled, valued = any(fact.label for fact in found), it.unit not in ("count", "ratio")
    columns = [Column("What", "text"), Column("Project", "text"), Column("Who", "text")]
    columns += [Column("Of", "text")] if labelled else []
    columns += [Column("Time" if it.unit == "seconds" else it.unit.title(), it.unit)] if valued else []
    rows = [
        [Cell(fact.title, fact.url), Cell(fact.project, place(view, "project", fact.project)),
         Cell(fact.who, fact.who and place(view, "person", fact.who)),
         *([Cell(fact.label)] if labelled else []), *([Cell(fact.value)] if valued else []), Cell(fact.at)]
        for fact in found
    ]  # fmt: skip
    return Card(title, [*columns, Column("Since" if it.as_of else "When", "text")], rows, [metric], **more)


def place(view: View, group: str, name: str) -> str:
    """The page of a project, person or team."""
    folder = {"project": "projects", "person": "people", "team": "teams"}[group]
    without: dict[str, None] = {"project": None} if group == "project" else {"team": None}
    return view.href(f"/{folder}/{quote(name)}", **without)


def heat(value: float, most: float) -> int:
    """How hot a value is, from 0 to 7; only nothing is 0."""
    return 0 if not value or not most else 1 + min(6, int(6.999 * value / most))


def _day(view: View, row: models.Row) -> str:
    """What a bucket is called: its first day in the range."""
    start = max(row.start or view.start, view.start).astimezone(view.zone)
    return f"{start:%Y-%m}" if view.bucket in ("month", "quarter", "year") else f"{start:%Y-%m-%d}"


def _bucket(view: View, metric: str, row: models.Row, label: str | None = None) -> str | None:
    """What is behind one bucket of a metric."""
    if not row.count or not row.start or not row.end:
        return None
    start, end = (it.astimezone(view.zone) for it in (row.start, row.end))
    bounds = {"from_": f"{start:%Y-%m-%dT%H:%M}", "to": f"{end:%Y-%m-%dT%H:%M}"}
    return view.behind(metric, **bounds, range=None, bucket=None, tz=view.zone.key, label=label)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
