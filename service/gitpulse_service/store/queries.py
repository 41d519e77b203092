"""The questions that the numbers answer; `docs/metrics.md` has the definition of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.store.engine import store_errors
from gitpulse_service.store.tables import commit, issue, merge_request, pipeline, project, push


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
class Author:
    """Somebody's commits, by the name and e-mail in them; both None where only redacted deliveries told of them."""

    name: str | None
    email: str | None
    commits: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One project's counts within a span of time."""

    pushes: int
    authors: Sequence[Author]
    merge_requests_opened: int
    merge_requests_merged: int
    merge_requests_closed: int
    issues_opened: int
    issues_closed: int
    pipelines: int
    pipelines_by_status: dict[str, int]


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until just before `end`; None: without bound."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, column: sa.Column[datetime]) -> sa.ColumnElement[bool]:
        """Whether the moment lies within; one that is not known lies only in a span without bounds."""
        bounds: list[sa.ColumnElement[bool]] = [sa.true()]
        if self.start is not None:
            bounds.append(column >= self.start)
        if self.end is not None:
            bounds.append(column < self.end)
        return sa.and_(*bounds)


async def projects(engine: AsyncEngine) -> list[Project]:
    """All projects, by path. Raises StoreUnavailable."""
    return await _projects(engine, sa.true())


async def find_projects(engine: AsyncEngine, name: str, instance: str | None = None) -> list[Project]:
    """Those with this GitLab id or path: more than one where several instances have one. Raises StoreUnavailable."""
    wanted = project.c.path == name
    if name.isdecimal() and int(name) < 2**63:
        wanted = project.c.gitlab_id == int(name)
    if instance is not None:
        wanted = sa.and_(wanted, project.c.instance == instance.rstrip("/"))
    return await _projects(engine, wanted)


async def summary(engine: AsyncEngine, key: int, span: Span) -> Summary:
    """One project's counts, all from one moment. Raises StoreUnavailable."""
    mr = merge_request.c
    with store_errors(engine):
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")

            async def count(column: sa.Column[datetime], *conditions: sa.ColumnElement[bool]) -> int:
                """Rows of the column's table with that moment within the span."""
                table = column.table
                query = sa.select(sa.func.count()).select_from(table)
                rows = await connection.execute(query.where(table.c["project"] == key, span.holds(column), *conditions))
                return rows.scalar_one()

            by_status = await _by_status(connection, key, span)
            return Summary(
                pushes=await count(push.c.received_at),
                authors=await _authors(connection, key, span),
                merge_requests_opened=await count(mr.created_at),
                merge_requests_merged=await count(mr.merged_at, mr.merged_at.is_not(None)),
                merge_requests_closed=await count(mr.closed_at, mr.state == "closed"),
                issues_opened=await count(issue.c.created_at),
                issues_closed=await count(issue.c.closed_at, issue.c.state == "closed"),
                pipelines=sum(by_status.values()),
                pipelines_by_status=by_status,
            )


async def _projects(engine: AsyncEngine, wanted: sa.ColumnElement[bool]) -> list[Project]:
    c = project.c
    query = (
        sa.select(c.id, c.instance, c.gitlab_id, c.path, c.name, c.web_url, c.last_event_at)
        .where(wanted)
        .order_by(c.path, c.instance, c.gitlab_id)
    )
    with store_errors(engine):
        async with engine.connect() as connection:
            return [Project(*row) for row in await connection.execute(query)]


async def _authors(connection: AsyncConnection, key: int, span: Span) -> list[Author]:
    c, count = commit.c, sa.func.count()
    query = (
        sa.select(c.author_name, c.author_email, count)
        .where(c.project == key, span.holds(c.committed_at))
        .group_by(c.author_name, c.author_email)
        .order_by(count.desc(), sa.func.coalesce(c.author_name, ""), sa.func.coalesce(c.author_email, ""))
    )
    return [Author(*row) for row in await connection.execute(query)]


async def _by_status(connection: AsyncConnection, key: int, span: Span) -> dict[str, int]:
    c = pipeline.c
    query = (
        sa.select(c.status, sa.func.count())
        .where(c.project == key, span.holds(c.created_at))
        .group_by(c.status)
        .order_by(c.status)
    )
    return {status or "": count for status, count in await connection.execute(query)}
