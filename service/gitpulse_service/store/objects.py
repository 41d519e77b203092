"""What is behind a number: its facts one by one, and where GitLab shows the object of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Unpack
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.store import tables
from gitpulse_service.store.dialects import among
from gitpulse_service.store.engine import reading
from gitpulse_service.store.facts import AS_OF, BOTS, METRICS, ZEROS, Metric
from gitpulse_service.store.people import attribution
from gitpulse_service.store.queries import Whose, names
from gitpulse_service.store.roster import member
from gitpulse_service.store.spans import Span


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a metric."""

    at: datetime
    project: str
    who: str | None
    label: str | None
    """Of a metric whose label is somebody, their name."""
    value: int | None
    title: str
    """What it is about: !12, #7, a commit, a branch."""
    url: str | None
    """Where GitLab shows that; None: nowhere, or not known."""


_T = tables
_OBJECTS: Mapping[str, tuple[sa.Column[Any], sa.Column[Any], str]] = {
    "push": (_T.push.c.after, _T.push.c.ref, "commit/{}"),
    "commit": (_T.commit.c.sha, _T.commit.c.sha, "commit/{}"),
    "merge_request": (_T.merge_request.c.iid, _T.merge_request.c.iid, "merge_requests/{}"),
    "review": (_T.merge_request.c.iid, _T.merge_request.c.iid, "merge_requests/{}"),
    "issue": (_T.issue.c.iid, _T.issue.c.iid, "issues/{}"),
    "reopening": (_T.issue.c.iid, _T.issue.c.iid, "issues/{}"),
    "pipeline": (_T.pipeline.c.id, _T.pipeline.c.ref, "pipelines/{}"),
    "job": (_T.job.c.id, _T.job.c.name, "jobs/{}"),
    "deployment": (_T.deployment.c.environment, _T.deployment.c.environment, "environments?search={}"),
    "release": (_T.release.c.tag, _T.release.c.tag, "releases/{}"),
}
"""By the table of a fact's moment: what GitLab calls the object, what people call it, and where GitLab has it."""
_SIGNS = {"merge_request": "!", "review": "!", "issue": "#", "reopening": "#"}


async def behind(
    engine: AsyncEngine,
    metric: str,
    span: Span,
    *,
    label: str | None = None,
    largest: bool = False,
    limit: int = 100,
    **whose: Unpack[Whose],
) -> list[Fact]:
    """The newest facts of a metric in the span, or those of the largest values. Raises StoreUnavailable."""
    it = METRICS[metric]
    table = _table(it)
    ref, title, _ = _OBJECTS[table]
    fact = it.select.add_columns(ref.label("ref"), title.label("title")).subquery("fact")
    by, of_label, p = names().alias("by"), names().alias("of_label"), tables.project.c
    source = fact.join(tables.project, p.id == fact.c.project)
    source = source.outerjoin(by, by.c.identity == fact.c.who)
    shown: sa.ColumnElement[Any] = fact.c.label
    if it.label_is_person:
        source, shown = source.outerjoin(of_label, of_label.c.identity == fact.c.label), of_label.c.name
    order = fact.c.value.desc() if largest else fact.c.at.desc()
    query = (
        sa.select(fact.c.at, p.path, p.gitlab_id, p.web_url, by.c.name.label("who"), shown.label("label"))
        .add_columns(fact.c.value, fact.c.ref, fact.c.title)
        .select_from(source)
        .where(*_within(fact, span, as_of=it.as_of), *_of(fact, by, whose))
        .where(*(() if label is None else (shown == label,)))
        .order_by(order, fact.c.ref.desc())
        .limit(limit)
    )
    return [_fact(table, row) for row in await _rows(engine, query, span)]


async def reviewed(engine: AsyncEngine, span: Span, **whose: Unpack[Whose]) -> list[tuple[str | None, str | None, int]]:
    """Who reviewed whose merge requests, how many: the metric `reviews` by both. Raises StoreUnavailable."""
    fact = METRICS["reviews"].select.subquery("fact")
    by, of = names().alias("by"), names().alias("of")
    source = fact.outerjoin(by, by.c.identity == fact.c.who).outerjoin(of, of.c.identity == fact.c.label)
    within = (*_within(fact, span), *_of(fact, by, whose))
    keys = by.c.name.label("who"), of.c.name.label("author")
    query = sa.select(*keys, sa.func.count()).select_from(source).where(*within).group_by(*keys)
    return [(who, author, n) for who, author, n in await _rows(engine, query, span)]


@dataclass(frozen=True, slots=True)
class Flaky:
    """A job that failed and succeeded within the same pipeline."""

    project: str
    stage: str
    name: str
    pipelines: int
    """In how many."""
    failures: int
    url: str | None
    """The last such failure."""


async def flaky(engine: AsyncEngine, span: Span, *, limit: int = 20, **whose: Unpack[Whose]) -> list[Flaky]:
    """Jobs by how many pipelines they failed in and, retried, succeeded. Raises StoreUnavailable."""
    c, p, by = tables.job.c, tables.project.c, names().alias("by")
    columns = (c.project, c.finished_at.label("at"), c.who, c.stage, c.name, c.pipeline, c.status, c.id)
    fact = sa.select(*columns).where(c.status.in_(("success", "failed"))).subquery("fact")
    f, failed = fact.c, fact.c.status == "failed"
    keys = f.project, f.stage, f.name, f.pipeline
    tries = sa.func.count().filter(failed).label("failures"), sa.func.max(f.id).filter(failed).label("ref")
    each = (
        sa.select(*keys, *tries)
        .select_from(fact.outerjoin(by, by.c.identity == f.who))
        .where(*_within(fact, span), *_of(fact, by, whose))
        .group_by(*keys)
        .having(sa.func.count(f.status.distinct()) > 1)
        .subquery("each")
    )
    e, pipelines = each.c, sa.func.count().label("pipelines")
    query = (
        sa.select(p.path, p.gitlab_id, p.web_url, e.stage, e.name, pipelines, sa.func.sum(e.failures))
        .add_columns(sa.func.max(e.ref).label("ref"))
        .select_from(each.join(tables.project, p.id == e.project))
        .group_by(p.id, p.path, p.gitlab_id, p.web_url, e.stage, e.name)
        .order_by(pipelines.desc(), p.path, e.stage, e.name)
        .limit(limit)
    )
    return [
        Flaky(path or str(number), stage or "", name or "", within, int(failures), _url(web, "jobs/{}", ref))
        for path, number, web, stage, name, within, failures, ref in await _rows(engine, query, span)
    ]


def _table(metric: Metric) -> str:
    """Whose column is the moment."""
    moment: Any = metric.select.selected_columns["at"]
    return str(moment.element.table.name)


def _within(fact: sa.Subquery, span: Span, *, as_of: bool = False) -> list[sa.ColumnElement[bool]]:
    if as_of:
        return [fact.c.at < AS_OF]
    bounds = (span.start is not None and fact.c.at >= span.start, span.end is not None and fact.c.at < span.end)
    return [it for it in bounds if it is not False]


def _of(fact: sa.Subquery, by: sa.FromClause, whose: Whose) -> list[sa.ColumnElement[bool]]:
    of = member.c
    found: list[sa.ColumnElement[bool]] = []
    if (projects := whose.get("projects")) is not None:
        found.append(fact.c.project.in_(projects))
    if (team := whose.get("team")) is not None:
        found.append(by.c.person.in_(sa.select(of.person).where(of.team == team)))
    if (person := whose.get("person")) is not None:
        found.append(by.c.name == person)
    if not whose.get("bots", True):
        found.append(sa.or_(fact.c.who.is_(None), ~among(fact.c.who, BOTS)))
    return found


async def _rows(engine: AsyncEngine, query: sa.Select[Any], span: Span) -> list[Any]:
    at = span.end or datetime.now(UTC)
    async with reading(engine) as connection:
        every = attribution().c
        machines = await connection.scalars(sa.select(every.identity).where(every.bot == 1))
        return [*await connection.execute(query, {AS_OF.key: at, BOTS.key: machines.all()})]


def _fact(table: str, row: sa.Row[Any]) -> Fact:
    path = row.path or str(row.gitlab_id)
    title = _SIGNS.get(table, "") + str(row.title if row.title is not None else row.ref)
    title = title[:8] if table == "commit" else title.removeprefix("refs/heads/").removeprefix("refs/tags/")
    url = None if row.ref in ZEROS else _url(row.web_url, _OBJECTS[table][2], row.ref)
    return Fact(row.at, path, row.who, row.label, row.value, title, url)


def _url(web: str | None, place: str, ref: object) -> str | None:
    known = web is not None and web.startswith(("https://", "http://"))  # a page links to it, so no other scheme
    return None if not known or ref is None else f"{web}/-/{place.format(quote(str(ref), safe=''))}"
