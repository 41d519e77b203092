"""Every metric of `docs/metrics.md` as one SELECT of its facts: `project, at, who, label, value`.

The same statement for PostgreSQL and SQLite. What is asked about them (spans, buckets, groups, percentiles) is in
`queries`, and what is kept for speed in `rollups`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from gitpulse_service.store import tables
from gitpulse_service.store.dialects import Many, among, json_texts, seconds
from gitpulse_service.store.tables import UtcDateTime

Unit = Literal["count", "seconds", "files", "ratio"]
By = Literal["label", "who"]
"""What of a fact a daily sum still tells, beside project and value; both together would be as many as the facts."""
BY_BOTH: tuple[By, ...] = ("label", "who")
BY_LABEL = BY_BOTH[:1]
Expression = sa.ColumnElement[Any]
Facts = sa.Select[Any]

AS_OF = sa.bindparam("as_of", type_=UtcDateTime())
"""The end of the span, for the metrics that are `as_of`."""
ZEROS = ("0" * 40, "0" * 64)
"""The commit that is none, as SHA-1 and SHA-256 write it."""
BOTS = sa.bindparam("bots", type_=Many(sa.BigInteger()))
"""The identities of bots, for the metrics that know them."""
HOURS_OF_WEEK = 168
DAWN = datetime(2, 1, 1, tzinfo=UTC)
"""Before all facts, in every zone."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """What is counted, and how its facts are to be read."""

    name: str
    select: Facts
    unit: Unit = "count"
    """Of the values; "count": facts have none. Of a "ratio" only the mean means something."""
    labels: bool = False
    """Facts have a label to group by."""
    label_is_person: bool = False
    """The label is an identity."""
    label_is_number: bool = False
    split: bool = False
    """Another metric's facts, by a label: a summary would say the same twice."""
    distinct: bool = False
    """Facts of the same project and label are one."""
    knows_bots: bool = False
    """What `BOTS` do is none."""
    as_of: bool = False
    """What is so at the moment `AS_OF`, and has been since `at`: there are no buckets."""
    rolled: tuple[By, ...] = ()
    """Daily sums are kept by these. For this `rollups` must know every table of the facts."""


def _facts(
    at: Expression,
    who: Expression | None,
    *where: sa.ColumnElement[bool],
    label: Expression | None = None,
    value: Expression | None = None,
    of: sa.FromClause | None = None,
) -> Facts:
    """Facts of the table of `at`, or `of` a join that begins with one that has the column `project`."""
    table: Any = at.table if of is None else of
    left = table
    while isinstance(left, sa.Join):
        left = left.left
    columns = {
        "project": left.c.project,
        "at": at,
        "who": sa.cast(sa.null(), sa.BigInteger()) if who is None else who,
        "label": sa.cast(sa.null(), sa.Text()) if label is None else label,
        "value": sa.cast(sa.null(), sa.BigInteger()) if value is None else value,
    }
    known = () if value is None else (value.is_not(None),)  # without a value there is no fact
    return sa.select(*(it.label(name) for name, it in columns.items())).select_from(table).where(*where, *known)


def _since(start: Expression, end: Expression) -> Expression:
    return seconds(end) - seconds(start)


def _success(status: Expression) -> Expression:
    """1 for what succeeded, 0 for what failed, else NULL."""
    return sa.case((status == "success", 1), (status == "failed", 0))


def _pushes() -> Iterator[Metric]:
    c = tables.push.c
    branch, tag = (sa.func.substr(c.ref, 1, len(it)) == it for it in ("refs/heads/", "refs/tags/"))
    created, deleted = c.before.in_(ZEROS), c.after.in_(ZEROS)
    for name, where in {
        "pushes": (branch,),
        "force_pushes": (branch, c.forced == 1),
        "branches_created": (branch, created),
        "branches_deleted": (branch, deleted),
        "tags_created": (tag, created),
    }.items():
        yield Metric(name, _facts(c.received_at, c.who, *where), rolled=BY_BOTH)
    active = _facts(c.received_at, c.who, branch, ~deleted, label=c.ref)
    yield Metric("branches_active", active, distinct=True)


def _commits() -> Iterator[Metric]:
    c = tables.commit.c
    there = sa.or_(c.lost_at.is_(None), c.seen_at > c.lost_at)
    yield Metric("commits", _facts(c.committed_at, c.author, there), rolled=BY_BOTH)
    # 1970 began on a Thursday; the weeks are added so that what is divided is positive.
    local = seconds(c.committed_at) + 60 * sa.func.coalesce(c.utc_offset, 0) + 3600 * (72 + 110_000 * HOURS_OF_WEEK)
    hour = sa.cast(local // 3600 % HOURS_OF_WEEK, sa.Text())
    yield Metric(
        "commit_hours",
        _facts(c.committed_at, c.author, there, label=hour),
        labels=True,
        label_is_number=True,
        split=True,
        rolled=BY_LABEL,
    )
    counts = {it.name: it for it in (c.added, c.modified, c.removed)}
    kind = sa.union_all(*(sa.select(sa.literal(it, sa.Text()).label("name")) for it in counts)).subquery("kind").c.name
    paths, each = sa.case(counts, value=kind), sa.join(tables.commit, kind.table, sa.true())
    files = _facts(c.committed_at, c.author, there, paths > 0, label=kind, value=paths, of=each)
    yield Metric("files", files, "files", labels=True, rolled=BY_BOTH)


def _merge_requests() -> Iterator[Metric]:
    c = tables.merge_request.c
    yield Metric("merge_requests_opened", _facts(c.created_at, c.author))
    yield Metric("merge_requests_merged", _facts(c.merged_at, c.author, c.merged_at.is_not(None)))
    yield Metric("merge_requests_closed", _facts(c.closed_at, c.author, c.state == "closed"))
    lasted = _since(c.created_at, c.merged_at)
    yield Metric("time_to_merge", _facts(c.merged_at, c.author, value=lasted), "seconds")
    state = sa.func.coalesce(c.state, "")
    not_merged = sa.or_(c.merged_at >= AS_OF, sa.and_(c.merged_at.is_(None), state != "merged"))
    not_closed = sa.or_(state != "closed", c.closed_at >= AS_OF)
    age = _since(c.created_at, AS_OF)
    is_open = _facts(c.created_at, c.author, not_merged, not_closed, value=age)
    yield Metric("merge_requests_open", is_open, "seconds", as_of=True)


def _reviews() -> Iterator[Metric]:
    mr, first = tables.merge_request.c, tables.review.alias()
    of = sa.join(tables.review, tables.merge_request, _same(tables.review, mr.project, mr.id))

    def by_others(review: sa.FromClause) -> Expression:
        return sa.and_(review.c.who != mr.author, ~among(review.c.who, BOTS))

    r = tables.review.c
    # Wrapped, so that no index on it is taken: SQLite would go through all earlier ones of the project each time.
    before = sa.tuple_(sa.func.coalesce(first.c.at, first.c.at), first.c.who) < sa.tuple_(r.at, r.who)
    earlier = sa.exists().where(_same(first, r.project, r.merge_request), by_others(first), before)
    waited = _facts(r.at, mr.author, by_others(tables.review), ~earlier, value=_since(mr.created_at, r.at), of=of)
    yield Metric("time_to_first_review", waited, "seconds", knows_bots=True)
    each = _facts(r.at, r.who, by_others(tables.review), label=mr.author, of=of)
    yield Metric("reviews", each, labels=True, label_is_person=True, knows_bots=True)


def _same(review: sa.FromClause, project: Expression, merge_request: Expression) -> Expression:
    return sa.and_(review.c.project == project, review.c.merge_request == merge_request)


def _issues() -> Iterator[Metric]:
    c, r = tables.issue.c, tables.reopening.c
    closed = c.state == "closed"
    is_issue, is_incident = (c.type == it for it in ("Issue", "Incident"))
    lasted = _since(c.created_at, c.closed_at)
    yield Metric("issues_opened", _facts(c.created_at, c.author, is_issue))
    yield Metric("issues_closed", _facts(c.closed_at, c.author, is_issue, closed))
    again = sa.join(tables.reopening, tables.issue, sa.and_(r.project == c.project, r.issue == c.id))
    # GitLab notes some milliseconds after the issue's own time that it was reopened: of a list that may be a second.
    twin = tables.reopening.alias()
    same = twin.c.project == r.project, twin.c.issue == r.issue, _since(twin.c.reopened_at, r.reopened_at) == 1
    yield Metric("issues_reopened", _facts(r.reopened_at, r.who, is_issue, ~sa.exists().where(*same), of=again))
    yield Metric("time_to_close", _facts(c.closed_at, c.author, is_issue, closed, value=lasted), "seconds")
    title = json_texts(c.labels).table_valued("value", name="title")
    labelled = sa.join(tables.issue, title, sa.true())
    opened = _facts(c.created_at, c.author, is_issue, label=title.c.value, of=labelled)
    yield Metric("issues_opened_by_label", opened, labels=True, split=True)
    at_end = _facts(c.closed_at, c.author, is_issue, closed, label=title.c.value, of=labelled)
    yield Metric("issues_closed_by_label", at_end, labels=True, split=True)
    yield Metric("incidents_opened", _facts(c.created_at, c.author, is_incident))
    yield Metric("time_to_restore", _facts(c.closed_at, c.author, is_incident, closed, value=lasted), "seconds")


def _pipelines() -> Iterator[Metric]:
    for table in (tables.pipeline, tables.job):
        c, name = table.c, table.name
        place = c.stage + "/" + c.name if table is tables.job else None
        has_place = place is not None
        yield Metric(f"{name}s", _facts(c.created_at, c.who, label=c.status), labels=True, rolled=BY_BOTH)
        for metric, it in (("duration", c.duration), ("queue_time", c.queued_duration)):
            lasted = _facts(c.finished_at, c.who, c.finished_at.is_not(None), label=place, value=it)
            yield Metric(f"{name}_{metric}", lasted, "seconds", labels=has_place)
        rate = _facts(c.finished_at, c.who, label=place, value=_success(c.status))
        yield Metric(f"{name}_success_rate", rate, "ratio", rolled=BY_BOTH, labels=has_place)


def _time_to_green() -> Iterator[Metric]:
    c, p = tables.pipeline.c, tables.project.c
    run, failure, tied = (tables.pipeline.alias() for _ in range(3))

    def before(one: sa.FromClause, status: str) -> tuple[Expression, ...]:
        """Of the same branch, before the success."""
        it, order = one.c, sa.tuple_(one.c.finished_at, one.c.id) < sa.tuple_(c.finished_at, c.id)
        return it.project == c.project, it.ref == c.ref, it.status == status, order

    # Looked up for each success, so that a team's need not look at what everybody's pipelines ever did.
    since = sa.select(sa.func.max(run.c.finished_at)).where(*before(run, "success")).correlate(tables.pipeline)
    later = failure.c.finished_at >= sa.func.coalesce(since.scalar_subquery(), sa.literal(DAWN, UtcDateTime()))
    by_id = tied.c.finished_at == failure.c.finished_at, tied.c.id > failure.c.id
    # Not NOT EXISTS: PostgreSQL would join, and go through all that succeeded before.
    fixed = sa.select(sa.func.count()).where(*before(tied, "success"), *by_id).correlate(tables.pipeline, failure)
    first = sa.select(sa.func.min(failure.c.finished_at))
    broken = first.where(*before(failure, "failed"), later, fixed.scalar_subquery() == 0)
    of_default = sa.join(tables.pipeline, tables.project, sa.and_(c.project == p.id, c.ref == p.default_branch))
    lasted = _since(broken.correlate(tables.pipeline).scalar_subquery(), c.finished_at)
    greens = _facts(c.finished_at, c.who, c.status == "success", value=lasted, of=of_default)
    yield Metric("time_to_green", greens, "seconds")


def _deployments() -> Iterator[Metric]:
    d, mr, r = tables.deployment.c, tables.merge_request.c, tables.release.c
    succeeded = d.tier == "production", d.succeeded_at.is_not(None)
    yield Metric("deployments", _facts(d.succeeded_at, d.who, *succeeded, label=d.environment), labels=True)
    lead = _facts(mr.deployed_at, mr.author, mr.deployed_at.is_not(None), value=_since(mr.merged_at, mr.deployed_at))
    yield Metric("lead_time_for_changes", lead, "seconds")
    yield Metric("releases", _facts(r.released_at, None, sa.func.coalesce(r.deleted, 0) == 0))


_FAMILIES = _pushes, _commits, _merge_requests, _reviews, _issues, _pipelines, _time_to_green, _deployments
METRICS: Mapping[str, Metric] = {metric.name: metric for family in _FAMILIES for metric in family()}
"""By name."""
SUMMARY = tuple(name for name, metric in METRICS.items() if not metric.split)
"""Those that a summary holds."""
