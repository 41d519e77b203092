"""What GitLab is still to be asked about: rows of `todo`, and what is made of the answers.

A kind with a slash, `backfill/new`, is not urgent; before the slash it says who wants to know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningUpdate

from gitpulse_service.store import rollups
from gitpulse_service.store.engine import reading, writing
from gitpulse_service.store.rows import Row
from gitpulse_service.store.tables import commit, project, push, release, todo

Change: TypeAlias = ReturningUpdate[tuple[int, datetime | None]]
"""Of rows whose keys and dates it returns."""
KEPT = timedelta(days=30)
"""How long a question waits for somebody who may ask it."""
FRESH = timedelta(hours=1)
"""What is younger comes first, so that nobody's push waits for a backfill."""


@dataclass(frozen=True, slots=True)
class Task:
    """A row of `todo`, and the project that it is about."""

    project: int
    kind: str
    item: str
    hook_id: str
    since: datetime
    instance: str = field(compare=False)
    gitlab_id: int = field(compare=False)

    @property
    def what(self) -> str:
        """The kind, whoever wants to know."""
        return self.kind.rpartition("/")[2]

    def row(self, kind: str, item: str) -> Row:
        """One more thing to ask, because of this one."""
        asker = self.kind.rpartition("/")
        more = {"kind": f"{asker[0]}{asker[1]}{kind}", "item": item}
        return {"project": self.project, **more, "hook_id": self.hook_id, "since": self.since}


async def waiting(engine: AsyncEngine, instance: str, *, but: Collection[int | str | Task], limit: int) -> list[Task]:
    """The next ones of a GitLab, all as urgent as the first; `but` none of these projects, and not these themselves.

    Raises StoreUnavailable.
    """
    asleep = [one for one in but if isinstance(one, int)]
    left = [(one.project, one.kind, one.item) for one in but if isinstance(one, Task)]
    c = todo.c
    waits = sa.or_(c.kind.contains("/"), c.kind == "deployment", c.since < datetime.now(UTC) - FRESH)
    urgency = sa.case((c.kind.endswith("files"), 2), (waits, 1), else_=0)
    query = (
        sa.select(*c, project.c.instance, project.c.gitlab_id, urgency)
        .join(project, project.c.id == c.project)
        .outerjoin(commit, sa.and_(commit.c.project == c.project, commit.c.sha == c.item))
        .where(project.c.instance == instance, c.project.not_in(asleep))
        .where(sa.tuple_(c.project, c.kind, c.item).not_in(left))
        .order_by(urgency, sa.case((urgency < 2, c.since)), commit.c.committed_at.desc(), c.project, c.kind, c.item)
        .limit(limit)
    )
    async with reading(engine) as connection:
        rows = (await connection.execute(query)).all()
    return [Task(*row[:-1]) for row in rows if row[-1] == rows[0][-1]]


async def backlog(engine: AsyncEngine, *, kinds: str = "%", hook_id: str | None = None) -> dict[str, int]:
    """How many there are of each kind, of a hook or of all. Raises StoreUnavailable."""
    query = (
        sa.select(todo.c.kind, sa.func.count().label("waiting")).where(todo.c.kind.like(kinds)).group_by(todo.c.kind)
    )
    if hook_id is not None:
        query = query.where(todo.c.hook_id == hook_id)
    async with reading(engine) as connection:
        return {row.kind: row.waiting for row in await connection.execute(query)}


async def doubt(engine: AsyncEngine, instance: str) -> None:
    """Has commits looked at that were found in no ref and told of since, by whichever delivery was late."""
    c = commit.c
    of_it = sa.select(project.c.id).where(project.c.instance == instance)
    await _look(engine, c.lost_at.is_not(None), c.seen_at > c.lost_at, c.project.in_(of_it))


async def doubt_unseen(engine: AsyncEngine, key: int, since: datetime, until: datetime, stamp: datetime) -> None:
    """The same for those of a span that count, and that no list since `stamp` has shown."""
    c = commit.c
    there = sa.or_(c.lost_at.is_(None), c.seen_at > c.lost_at)
    await _look(engine, c.project == key, c.committed_at >= since, c.committed_at < until, there, c.seen_at < stamp)


async def _look(engine: AsyncEngine, *which: sa.ColumnElement[bool]) -> None:
    c = commit.c
    known = sa.exists().where(todo.c.project == c.project, todo.c.kind == "refs", todo.c.item == c.sha)
    rows = sa.select(c.project, sa.literal("refs"), c.sha, sa.literal(""), c.seen_at).where(*which, ~known).limit(1000)
    async with writing(engine) as connection:
        await connection.execute(sa.insert(todo).from_select([column.name for column in todo.columns], rows))


async def sample(engine: AsyncEngine, instance: str, projects: int, since: datetime) -> list[int]:
    """GitLab's ids of some projects of which something was heard since. Raises StoreUnavailable."""
    c = project.c
    query = sa.select(c.gitlab_id).where(c.instance == instance, c.last_event_at >= since)
    async with reading(engine) as connection:
        return list(await connection.scalars(query.order_by(sa.func.random()).limit(projects)))


async def forget(engine: AsyncEngine, before: datetime) -> None:
    """Gives up what nobody could be asked about for so long. Raises StoreUnavailable."""
    async with writing(engine) as connection:
        await connection.execute(sa.delete(todo).where(todo.c.since < before))


# --- within the transaction that writes an answer ---------------------------------------------------------------------


async def done(connection: AsyncConnection, task: Task, changes: Iterable[Change]) -> None:
    """It is answered, by these changes and by what is written beside them; unless it has come up again meanwhile."""
    for change in changes:
        rows = [dict(row) for row in (await connection.execute(change)).mappings()]
        await rollups.touch(connection, {cast("sa.Table", change.table): rows})
    c = todo.c
    of_it = (c.project == task.project, c.kind == task.kind, c.item == task.item)
    await connection.execute(sa.delete(todo).where(*of_it, c.since <= task.since))


def forced(task: Task, ref: str, before: str, after: str, *, was: bool) -> Change:
    """Whether a push took commits away."""
    c = push.c
    of_it = (c.project == task.project, c.ref == ref, c.before == before, c.after == after)
    return sa.update(push).where(*of_it).values(forced=int(was)).returning(c.project, c.received_at)


def refs(task: Task, shas: Collection[str], at: datetime, *, lost: bool) -> Change:
    """Whether a branch or tag reached these commits at that moment."""
    c = commit.c
    before = sa.or_(c.lost_at.is_(None), c.lost_at < at) if lost else c.lost_at <= at
    changed = sa.update(commit).where(c.project == task.project, c.sha.in_(shas), before)
    return changed.values(lost_at=at if lost else None).returning(c.project, c.committed_at)


def files(task: Task, sha: str, counts: dict[str, int]) -> Change:
    """How many paths a commit changed."""
    c = commit.c
    of_it = (c.project == task.project, c.sha == sha, c.added.is_(None))
    return sa.update(commit).where(*of_it).values(**counts).returning(c.project, c.committed_at)


def unreleased(task: Task, there: Collection[tuple[str, datetime]]) -> Change:
    """That of the releases made before the question only these are there, each a tag and when it was made."""
    c = release.c
    gone = c.created_at < task.since, c.deleted.is_(None), sa.tuple_(c.tag, c.created_at).not_in(there)
    changed = sa.update(release).where(c.project == task.project, *gone).values(deleted=1)
    return changed.returning(c.project, c.released_at)
