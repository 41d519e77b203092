"""The questions that the numbers answer, each from one moment of the store."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, Literal, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.store import rollups
from gitpulse_service.store.dialects import Many, among, edge_before, gathered
from gitpulse_service.store.engine import reading
from gitpulse_service.store.facts import AS_OF, BOTS, METRICS, By, Metric
from gitpulse_service.store.people import attribution
from gitpulse_service.store.roster import member
from gitpulse_service.store.spans import Span
from gitpulse_service.store.tables import UtcDateTime, identity, project

Group = Literal["project", "person", "team", "label"]


class Whose(TypedDict, total=False):
    """Whose facts; without, everybody's."""

    projects: Collection[int] | None
    """Their keys."""
    team: str | None
    person: str | None
    bots: bool


_PERCENTILES = (50, 75, 90, 95)


@dataclass(frozen=True, slots=True)
class Project:
    """A project that at least one event told of."""

    key: int
    instance: str
    gitlab_id: int
    path: str | None
    name: str | None
    web_url: str | None
    last_event_at: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """The facts of one bucket and group: how many, and what their values come to, in the metric's unit."""

    bucket: int | None
    """Index of the edge at which it begins."""
    group: str | int | None
    """Key of a project, name of a person or team, or a label; None: of none, or nobody."""
    count: int
    sum: int | None = None
    mean: float | None = None
    """A whole number of seconds (half a second is rounded up), else exact."""
    p50: int | None = None
    p75: int | None = None
    p90: int | None = None
    p95: int | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, as far as it makes a statement another one. The rest are values of its parameters."""

    facts: rollups.Part
    planned: tuple[rollups.Part, ...]
    """Where there are daily sums; empty: there are none."""
    cut: bool
    """Into buckets that begin at `edges`."""
    group: Group | None
    of_people: bool
    """Only facts of the identities `people`."""
    without_bots: bool
    """No facts of `BOTS`."""

    def by(self, metric: Metric) -> By | None:
        """What facts must tell, None: all."""
        who = self.of_people or self.without_bots or self.group in ("person", "team")
        label = metric.distinct or self.group == "label"
        return None if who and label else "who" if who else "label"


async def projects(engine: AsyncEngine) -> list[Project]:
    """All projects, by path. Raises StoreUnavailable."""
    return await _projects(engine, sa.true())


async def find_projects(engine: AsyncEngine, name: str, instance: str | None = None) -> list[Project]:
    """Those with this GitLab id or path: more than one where several instances have one. Raises StoreUnavailable."""
    wanted = project.c.path == name
    if name.isdecimal() and len(name) < 19:
        wanted = project.c.gitlab_id == int(name)
    if instance is not None:
        wanted = sa.and_(wanted, project.c.instance == instance.rstrip("/"))
    return await _projects(engine, wanted)


async def series(
    engine: AsyncEngine,
    metric: str,
    span: Span,
    *,
    edges: Sequence[datetime] | None = None,
    group: Group | None = None,
    **whose: Unpack[Whose],
) -> list[Point]:
    """One metric's facts in the span, by bucket and group; only those that have facts. Raises StoreUnavailable.

    Bucket `i` is `[edges[i], edges[i + 1])`.
    """
    it = METRICS[metric]
    cuts = [edge.astimezone(UTC) for edge in edges or ()]
    if cuts:
        span = Span(max(span.start or cuts[0], cuts[0]), min(span.end or cuts[-1], cuts[-1]))
    points = [_point(it, row, cuts, group) for row in await _figures(engine, [it], span, whose, cuts, group)]
    return sorted(points, key=lambda it: (it.bucket or 0, it.group is None, it.group))


async def totals(
    engine: AsyncEngine,
    metrics: Collection[str],
    span: Span,
    **whose: Unpack[Whose],
) -> dict[str, Point]:
    """What `series` says without buckets and groups, for several metrics at once. Raises StoreUnavailable."""
    rows = await _figures(engine, [METRICS[name] for name in metrics], span, whose) if metrics else []
    found = {row.metric: _point(METRICS[row.metric], row, (), None) for row in rows}
    return {name: found.get(name, Point(None, None, 0)) for name in metrics}


async def distribution(engine: AsyncEngine, metric: str, span: Span, **whose: Unpack[Whose]) -> list[tuple[int, int]]:
    """Each value of one metric's facts in growing order, and how often it occurs. Raises StoreUnavailable."""
    rows = await _figures(engine, [METRICS[metric]], span, whose)
    return [each for row in rows for each in sorted(zip(row.sizes, row.ns, strict=True))]


async def _projects(engine: AsyncEngine, wanted: sa.ColumnElement[bool]) -> list[Project]:
    c = project.c
    query = (
        sa.select(c.id, c.instance, c.gitlab_id, c.path, c.name, c.web_url, c.last_event_at)
        .where(wanted)
        .order_by(c.path, c.instance, c.gitlab_id)
    )
    async with reading(engine) as connection:
        return [Project(*row) for row in await connection.execute(query)]


async def _figures(
    engine: AsyncEngine,
    metrics: Sequence[Metric],
    span: Span,
    whose: Whose,
    edges: Sequence[datetime] = (),
    group: Group | None = None,
) -> Sequence[sa.Row[Any]]:
    """One row for each metric, bucket and group that has facts: metric, bucket, group, sizes, ns."""
    async with reading(engine) as connection:
        if engine.dialect.name == "postgresql":  # all statements are to see the same moment, as in SQLite they do
            await connection.execution_options(isolation_level="REPEATABLE READ")
        asked, values = await _question(connection, metrics, span, whose, edges, group)
        statement = sa.union_all(*(_statement(it, asked) for it in metrics))
        return (await connection.execute(statement, values)).all()


async def _question(
    connection: AsyncConnection,
    metrics: Sequence[Metric],
    span: Span,
    whose: Whose,
    edges: Sequence[datetime],
    group: Group | None,
) -> tuple[_Question, rollups.Values]:
    """Looks up whose identities are asked for, and what is rolled up."""
    named, of, bots, projects = names().c, member.c, whose.get("bots", True), whose.get("projects")
    values: rollups.Values = {AS_OF.key: span.end or datetime.now(UTC), "edges": edges}
    theirs: list[sa.ColumnElement[bool]] = []
    if (team := whose.get("team")) is not None:
        theirs.append(named.person.in_(sa.select(of.person).where(of.team == team)))
    if (person := whose.get("person")) is not None:
        theirs.append(named.name == person)
    if theirs:
        values["people"] = (await connection.scalars(sa.select(named.identity).where(*theirs))).all()
    if not bots or any(it.knows_bots for it in metrics):
        every = attribution().c
        values["bots"] = (await connection.scalars(sa.select(every.identity).where(every.bot == 1))).all()
    facts = rollups.part("facts", values, span, projects)
    without_bots = not bots and bool(values["bots"])
    asked = _Question(facts, (), bool(edges), group, "people" in values, without_bots)
    if any(asked.by(it) in it.rolled for it in metrics):
        plan = await rollups.plan(connection, span, edges, projects)
        asked = replace(asked, planned=tuple(plan.parts(values, span)) if plan else ())
    return asked, values


@cache
def names() -> sa.Subquery:
    """Under what name an identity counts: `identity`, `person`, `name`. One that shows none is nobody."""
    of, i = attribution(), identity.c
    shown = (sa.func.nullif(it, "") for it in (i.name, i.username, i.email))
    name = sa.func.coalesce(of.c.person, *shown).label("name")
    return sa.select(of.c.identity, of.c.person, name).join(identity, i.id == of.c.identity).subquery("names")


@lru_cache(maxsize=512)  # 90 KB each; to build one takes longer than many answers
def _statement(metric: Metric, asked: _Question) -> sa.Select[Any]:
    """What `_tally` says, with a list for each bucket and group: window functions take twice as long to find a rank."""
    t = _tally(metric, asked).c
    what = sa.literal(metric.name, sa.Text()).label("metric")
    lists = gathered(t.value).label("sizes"), gathered(t.n).label("ns")
    return sa.select(what, t.bucket, t.group, *lists).group_by(t.bucket, t.group)


def _tally(metric: Metric, asked: _Question) -> sa.Subquery:
    """How often each value occurs in each bucket and group: bucket, group, value, n."""
    by = asked.by(metric)
    if metric.as_of:
        parts = [replace(asked.facts, starts=False, ends=False)]
    else:
        parts = [*asked.planned] if by in metric.rolled and asked.planned else [asked.facts]
    fact = rollups.counted(metric, parts, by).subquery("counted")
    f = fact.c
    source, group = _grouped(metric, fact, asked.group)
    bucket: sa.ColumnElement[Any] = sa.cast(sa.null(), UtcDateTime())
    if asked.cut:
        bucket = edge_before(f.at, sa.bindparam("edges", type_=Many(UtcDateTime())))
    counts = (f.project, f.label) if metric.distinct else (f.value, f.n)
    found = sa.select(bucket.label("bucket"), group.label("group"), *counts).select_from(source)
    if asked.of_people:
        found = found.where(among(f.who, sa.bindparam("people", type_=Many(sa.BigInteger()))))
    if asked.without_bots:
        found = found.where(sa.or_(f.who.is_(None), ~among(f.who, BOTS)))
    each = (found.distinct() if metric.distinct else found).subquery("each").c
    keys = each.bucket, each.group
    if metric.distinct:
        value = sa.cast(sa.null(), sa.BigInteger()).label("value")
        return sa.select(*keys, value, sa.func.count().label("n")).group_by(*keys).subquery("tally")
    n = sa.cast(sa.func.sum(each.n), sa.Integer()).label("n")  # sums of PostgreSQL's bigint are a slow numeric
    return sa.select(*keys, each.value, n).group_by(*keys, each.value).subquery("tally")


def _grouped(metric: Metric, fact: sa.Subquery, group: Group | None) -> tuple[sa.FromClause, sa.ColumnElement[Any]]:
    """The facts, joined with what tells their group, and that."""
    named = names()
    match group:
        case "project":
            return fact, fact.c.project
        case "label" if not metric.label_is_person:
            return fact, fact.c.label
        case "label":
            return fact.outerjoin(named, named.c.identity == fact.c.label), named.c.name
        case "person":
            return fact.outerjoin(named, named.c.identity == fact.c.who), named.c.name
        case "team":
            people = fact.outerjoin(named, named.c.identity == fact.c.who)
            return people.outerjoin(member, member.c.person == named.c.person), member.c.team
    return fact, sa.cast(sa.null(), sa.Text())


def _point(metric: Metric, row: sa.Row[Any], edges: Sequence[datetime], group: Group | None) -> Point:
    name = int(row.group) if row.group is not None and group == "label" and metric.label_is_number else row.group
    bucket = None if row.bucket is None else edges.index(row.bucket)
    if metric.unit == "count":
        return Point(bucket, name, sum(row.ns))
    tally = sorted(zip(row.sizes, row.ns, strict=True))
    upto = list(accumulate(n for _, n in tally))
    count, values = upto[-1], sum(value * n for value, n in tally)
    mean = (2 * values + count) // (2 * count) if metric.unit == "seconds" else values / count
    if metric.unit == "ratio":
        return Point(bucket, name, count, values, mean)
    ranks = (tally[bisect_left(upto, -(-it * count // 100))][0] for it in _PERCENTILES)
    return Point(bucket, name, count, values, mean, *ranks)
