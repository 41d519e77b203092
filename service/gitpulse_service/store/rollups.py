"""Daily sums of the facts that are many, in the time zones of the teams; an answer never depends on them.

They hold for the days before a project's frontier; from there on facts are read. The roller moves it on when a day is
well over; whoever writes what lies further back moves it back, in the same transaction (docs/decisions/0042).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.store import roster, tables
from gitpulse_service.store.dialects import Many, among, edge_before
from gitpulse_service.store.engine import reading, writing
from gitpulse_service.store.facts import AS_OF, BY_BOTH, DAWN, METRICS, By, Metric
from gitpulse_service.store.spans import Span, day_start, midnight
from gitpulse_service.store.tables import Text, UtcDateTime

LATE = timedelta(hours=24)
"""What is older when it is written moves the frontier back."""
SETTLED = timedelta(hours=48)
"""How old a day's start is at least when it is rolled up. A transaction that takes the difference would be missed."""

_FIRST_DAY = datetime(1970, 1, 2, tzinfo=UTC).date()
"""What lies before it is one day."""
_PROJECTS_AT_ONCE = 200
_LONG = timedelta(days=7)
"""When more than this is to be rolled up, projects go one by one."""

derived = sa.MetaData()
"""Tables that can be emptied at any time."""

rollup = sa.Table(
    "rollup",
    derived,
    sa.Column("zone", Text, nullable=False),
    sa.Column("metric", Text, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("project", sa.BigInteger(), nullable=False),
    sa.Column("at", UtcDateTime(), nullable=False),
    sa.Column("who", sa.BigInteger()),
    sa.Column("label", Text),
    sa.Column("value", sa.Integer()),
    sa.Column("n", sa.Integer(), nullable=False),
    sa.Index("rollup_day", "zone", "metric", "by", "project", "at"),
    sa.Index("rollup_who", "who", "metric", "zone", "at"),
    comment="How many facts of a metric a day has that are alike; at is the day's start",
)
rolled = sa.Table(
    "rolled",
    derived,
    sa.Column("project", sa.BigInteger(), nullable=False),
    sa.Column("zone", Text, nullable=False),
    sa.Column("until", UtcDateTime(), nullable=False),
    sa.Index("rolled_project", "project"),
    comment="Before when the roll-ups of a project and zone hold, the least of all; zone is empty for a late write",
)

DATED: Mapping[sa.Table, str] = {
    tables.push: "received_at",
    tables.commit: "committed_at",
    tables.pipeline: "created_at",
    tables.job: "created_at",
}
"""By what a row's facts, whatever else it says or said before, are not older."""


@dataclass(frozen=True, slots=True)
class Part:
    """Facts of some projects and some of the span, as far as they make a statement another one.

    The rest are values of its parameters, whose names begin with the part's.
    """

    name: str
    sums: bool = False
    """Daily sums stand for them."""
    some: bool = False
    """Not of all projects: of `…_projects`."""
    starts: bool = False
    """At `…_start`."""
    ends: bool = False
    """Before `…_end`."""
    undated: bool = False
    """Only those of no known moment, which else lie only in a span without bounds."""

    def where(self, project: sa.ColumnElement[int], at: sa.ColumnElement[Any]) -> Iterator[sa.ColumnElement[bool]]:
        """What is true of them."""
        if self.some:
            yield among(project, sa.bindparam(f"{self.name}_projects", type_=Many(sa.BigInteger())))
        if self.starts:
            yield at >= sa.bindparam(f"{self.name}_start", type_=UtcDateTime())
        if self.ends:
            yield at < sa.bindparam(f"{self.name}_end", type_=UtcDateTime())
        if self.undated:
            yield at.is_(None)


Values = dict[str, Any]
"""Of a statement's parameters."""


def part(name: str, values: Values, span: Span, projects: Collection[int] | None, *, sums: bool = False) -> Part:
    """The part that holds these; adds what it takes to the values."""
    given = {"projects": projects, "start": span.start, "end": span.end}
    values |= {f"{name}_{what}": value for what, value in given.items() if value is not None}
    return Part(name, sums, *(it is not None for it in given.values()))


@dataclass(frozen=True, slots=True)
class Plan:
    """From which days on facts are read: for some projects each, and None where there are no roll-ups."""

    zone: str
    frontiers: Sequence[tuple[Sequence[int], datetime | None]]

    def parts(self, values: Values, span: Span) -> Iterator[Part]:
        """Of a span."""
        values["zone"] = self.zone
        for number, (some, frontier) in enumerate(self.frontiers):
            if frontier is None:
                yield part(f"new{number}", values, span, some)
                continue
            before = Span(span.start, min(span.end or frontier, frontier))
            after = Span(max(span.start or frontier, frontier), span.end)
            if before.start is None or before.start < frontier:
                yield part(f"sums{number}", values, before, some, sums=True)
            if after.end is None or after.end > frontier:
                yield part(f"facts{number}", values, after, some)
            if span == Span():
                yield replace(part(f"undated{number}", values, span, some), undated=True)


def counted(metric: Metric, parts: Sequence[Part], by: By | None = None) -> sa.Select[Any]:
    """The facts, and `n`: how many are alike. Where there are sums they tell no more than what they are `by`."""
    fact, r, found = metric.select.subquery("fact").c, rollup.c, []
    for it in parts:
        if it.sums:
            of_it = r.zone == sa.bindparam("zone", type_=Text), r.metric == metric.name, r.by == by
            sums = sa.select(r.project, r.at, r.who, r.label, r.value, r.n)
            found.append(sums.where(*of_it, *it.where(r.project, r.at)))
        else:
            facts = sa.select(fact.project, fact.at, fact.who, fact.label, fact.value, sa.literal(1).label("n"))
            so_far = (fact.at < AS_OF,) if metric.as_of else ()
            found.append(facts.where(*it.where(fact.project, fact.at), *so_far))
    return found[0] if len(found) == 1 else sa.select(sa.union_all(*found).subquery("part"))


def _of(column: sa.ColumnElement[int], projects: Collection[int]) -> sa.ColumnElement[bool]:
    return among(column, sa.literal(projects, Many(sa.BigInteger())))


async def plan(
    connection: AsyncConnection, span: Span, edges: Sequence[datetime], projects: Collection[int] | None
) -> Plan | None:
    """How to use roll-ups for this question; None: not at all, no zone's days fit it."""
    every = projects
    if every is None:
        every = (await connection.execute(sa.select(tables.project.c.id))).scalars().all()
    until = await _until(connection, projects)
    cuts = {it for it in (span.start, span.end, *edges) if it is not None}
    zones = sorted({zone for _, zone in until} - {""}, key=lambda it: (it != "UTC", it))
    for zone in zones:
        found = {of: at for of in every if (at := _start(until, of, zone)) > DAWN}
        if found and all(_fits(it, ZoneInfo(zone), max(found.values())) for it in cuts):
            return Plan(zone, list(_classes(found, every)))
    return None


def _classes(found: Mapping[int, datetime], every: Collection[int]) -> Iterator[tuple[list[int], datetime | None]]:
    """The projects that are as far as most, those that are behind, and those that are new."""
    most = Counter(found.values()).most_common(1)[0][0]
    yield [of for of, at in found.items() if at >= most], most
    if behind := [of for of, at in found.items() if at < most]:
        yield behind, min(found[of] for of in behind)
    if new := [of for of in every if of not in found]:
        yield new, None


def _fits(moment: datetime, zone: ZoneInfo, newest: datetime) -> bool:
    return moment >= newest or (moment >= midnight(_FIRST_DAY, zone) and moment == day_start(moment, zone))


async def _until(connection: AsyncConnection, projects: Collection[int] | None) -> dict[tuple[int, str], datetime]:
    """For each project and zone, `rolled`."""
    r = rolled.c
    query = sa.select(r.project, r.zone, sa.func.min(r.until)).group_by(r.project, r.zone)
    if projects is not None:
        query = query.where(_of(r.project, projects))
    return {(of, zone): at for of, zone, at in await connection.execute(query)}


def _start(until: Mapping[tuple[int, str], datetime], project: int, zone: str) -> datetime:
    """The project's frontier: the start of the first day that the roll-ups do not hold; the dawn: there are none."""
    clock, at = ZoneInfo(zone), until.get((project, zone), DAWN)
    start = min(at, day_start(until.get((project, ""), at), clock))
    return start if start >= midnight(_FIRST_DAY, clock) else DAWN


async def touch(
    connection: AsyncConnection, rows: Mapping[sa.Table, Sequence[Mapping[str, Any]]], now: datetime | None = None
) -> None:
    """Notes what these rows, written or deleted in this transaction, change of days that may be rolled up.

    Costs nothing for what is new. A row that does not say its date, though its key had one, changes everything.
    """
    before = (now or datetime.now(UTC)) - LATE
    late: dict[int, datetime] = {}
    for table, column in DATED.items():
        for row in rows.get(table, ()):
            at = row.get(column) or DAWN
            if at < before:
                late[row["project"]] = min(at, late.get(row["project"], at))
    if late:
        marks = [{"project": of, "zone": "", "until": at} for of, at in sorted(late.items())]
        await connection.execute(sa.insert(rolled), marks)


async def clear(connection: AsyncConnection) -> None:
    """Forgets all roll-ups; the roller makes them anew."""
    await _lock(connection)
    for table in (rollup, rolled):
        await connection.execute(sa.delete(table))


async def roll(engine: AsyncEngine, now: datetime | None = None, seconds: float = 20) -> int:
    """Rolls up what has become old enough or was written late, for about so long.

    Returns how many projects were behind. Raises StoreUnavailable.
    """
    settled, give_up = (now or datetime.now(UTC)) - SETTLED, monotonic() + seconds
    async with reading(engine) as connection:
        zones = {"UTC", *(await connection.execute(sa.select(roster.team.c.time_zone))).scalars()}
        every = (await connection.execute(sa.select(tables.project.c.id).order_by(tables.project.c.id))).scalars()
        until = await _until(connection, None)
    ends = {zone: day_start(settled, ZoneInfo(zone)) for zone in sorted(zones)}
    behind = {of: max(end - _start(until, of, zone) for zone, end in ends.items()) for of in every}
    long = [[of] for of, lag in behind.items() if lag > _LONG]
    short = [of for of, lag in behind.items() if timedelta() < lag <= _LONG]
    chunks = [*(short[i : i + _PROJECTS_AT_ONCE] for i in range(0, len(short), _PROJECTS_AT_ONCE)), *long]
    for chunk in chunks:
        await _roll(engine, chunk, ends)
        if monotonic() > give_up:
            break
    return sum(map(len, chunks))


async def _roll(engine: AsyncEngine, projects: Sequence[int], ends: Mapping[str, datetime]) -> None:
    """Brings these projects to the end of each zone, all from one moment of the store."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    async with writing(engine, **options) as connection:
        await _lock(connection)  # before the transaction sees anything
        until = await _until(connection, projects)
        now_until = []
        for zone, end in ends.items():
            starts: defaultdict[datetime, list[int]] = defaultdict(list)
            for of in projects:
                start = _start(until, of, zone)
                starts[start].append(of)
                now_until.append({"project": of, "zone": zone, "until": max(start, end)})
            for start, some in starts.items():
                r = rollup.c
                if start < end:
                    old = sa.and_(
                        r.zone == zone, r.metric.in_(_ROLLED), r.by.in_(BY_BOTH), _of(r.project, some), r.at >= start
                    )
                    await connection.execute(sa.delete(rollup).where(old))
                    values: Values = {"zone": zone, "days": _days(zone, start, end)}
                    sums = _sums(part("late", values, Span(start, end), some)).params(values)
                    await connection.execute(sa.insert(rollup).from_select(r.keys(), sums))
        # What was written late after this transaction began to see is not deleted: it does not see it.
        await connection.execute(sa.delete(rolled).where(_of(rolled.c.project, projects)))
        await connection.execute(sa.insert(rolled), now_until)


_ROLLED = {name: metric for name, metric in METRICS.items() if metric.rolled}


@cache
def _sums(only: Part) -> sa.CompoundSelect[Any]:
    """The rows of `rollup`, of `zone` and its `days`."""
    days, zone = sa.bindparam("days", type_=Many(UtcDateTime())), sa.bindparam("zone", type_=Text)

    def of(metric: Metric, by: By) -> sa.Select[Any]:
        f = counted(metric, [only]).subquery("fact").c
        each = sa.select(f.project, edge_before(f.at, days).label("day"), f[by], f.value, f.n).subquery("each").c
        told: dict[str, sa.ColumnElement[Any]] = {
            "who": sa.cast(sa.null(), sa.BigInteger()),
            "label": sa.cast(sa.null(), sa.Text()),
            by: each[by],
        }
        what = [zone, *(sa.literal(it, sa.Text()) for it in (metric.name, by))]
        key = each.project, each.day, told["who"], told["label"], each.value
        return (
            sa.select(*what)
            .add_columns(*key, sa.func.sum(each.n))
            .group_by(each.project, each.day, each[by], each.value)
        )

    return sa.union_all(*(of(metric, by) for metric in _ROLLED.values() for by in metric.rolled))


@lru_cache(maxsize=64)
def _days(zone: str, start: datetime, end: datetime) -> tuple[datetime, ...]:
    """The starts of the days from the first to before the last."""
    clock = ZoneInfo(zone)
    first, last = max(_FIRST_DAY, start.astimezone(clock).date()), end.astimezone(clock).date()
    days = [midnight(first + timedelta(days=i), clock) for i in range((last - first).days)]
    return tuple(days) if start >= days[0] else (start, *days)


async def _lock(connection: AsyncConnection) -> None:
    """Until the transaction ends nobody else writes roll-ups. Not `rolled`: whoever writes late need not wait."""
    if connection.dialect.name == "postgresql":  # SQLite's write transaction is a lock already
        await connection.exec_driver_sql("LOCK TABLE rollup IN SHARE ROW EXCLUSIVE MODE")
