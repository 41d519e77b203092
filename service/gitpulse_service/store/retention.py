"""What the store forgets in time: raw deliveries, and, where somebody wants it, numbers too.

In PostgreSQL raw deliveries have a partition for each day, made ahead and dropped whole: see docs/decisions/0044.
What fits none, such as an old push that was fetched, is in `delivery_rest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.store import tables
from gitpulse_service.store.engine import writing
from gitpulse_service.store.rollups import DATED, clear
from gitpulse_service.store.rows import moment_of
from gitpulse_service.store.spans import day_start

CHUNK = 5000
"""Rows deleted in one transaction, so that drains need not wait long for the locks."""
DAYS_AHEAD = 7
"""Days for which there are partitions already, should no worker be there to make the next one."""

_REST = tables.delivery.to_metadata(sa.MetaData(), name="delivery_rest")
_DAYS = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'delivery'::regclass")
_MOMENTS: Mapping[str, sa.ColumnElement[datetime]] = {
    "delivery": tables.delivery.c.received_at,
    "push": tables.push.c.received_at,
    "commit": tables.commit.c.committed_at,
    "review": tables.review.c.at,
    "reopening": tables.reopening.c.reopened_at,
    "release": tables.release.c.released_at,
}
"""By what a row is as old as it is. In other tables the version says when it changed last."""


async def retire(engine: AsyncEngine, now: datetime, kept: Mapping[str, timedelta]) -> dict[str, int]:
    """Forgets what is older than its table's time; returns how many rows were deleted. Raises StoreUnavailable."""
    forgotten = {}
    await make_days(engine, now)
    for name, time in kept.items():
        table, before = tables.metadata.tables[name], now - time
        if table in DATED:  # once a day: then all roll-ups are made anew
            before = day_start(before, ZoneInfo("UTC"))
        if table is tables.delivery and engine.dialect.name == "postgresql":
            await _drop_days(engine, before)
            forgotten[name] = await _delete(engine, _REST, _REST.c.received_at < before)
        elif name in _MOMENTS:
            forgotten[name] = await _delete(engine, table, _MOMENTS[name] < before)
        else:
            forgotten[name] = await _delete(engine, table, table.c.version < moment_of(before))
    return forgotten


async def make_days(engine: AsyncEngine, now: datetime) -> None:
    """Makes the partitions of today and the days to come. Raises StoreUnavailable."""
    if engine.dialect.name != "postgresql":
        return
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = {_name(day): day for ahead in range(DAYS_AHEAD + 1) if (day := today + timedelta(days=ahead))}
    async with writing(engine) as connection:
        if days.keys() <= await _made(connection):
            return
        await connection.execute(sa.text("LOCK TABLE delivery"))  # another worker may be at it too
        for name in sorted(days.keys() - await _made(connection)):
            day, end = days[name], days[name] + timedelta(days=1)
            theirs = sa.select(_REST.c.hook_id).where(_REST.c.received_at >= day, _REST.c.received_at < end)
            if (await connection.execute(theirs.limit(1))).first() is None:  # else PostgreSQL refuses
                bounds = f"FROM ('{day}') TO ('{end}')"
                await connection.execute(sa.text(f"CREATE TABLE {name} PARTITION OF delivery FOR VALUES {bounds}"))


async def _drop_days(engine: AsyncEngine, before: datetime) -> None:
    async with writing(engine) as connection:
        for name in await _made(connection):
            if name < _name(before):
                await connection.execute(sa.text(f"DROP TABLE {name}"))


async def _made(connection: AsyncConnection) -> set[str]:
    return set((await connection.execute(_DAYS)).scalars()) - {_REST.name}


def _name(day: datetime) -> str:
    return f"delivery_{day.astimezone(UTC):%Y%m%d}"


async def _delete(engine: AsyncEngine, table: sa.Table, old: sa.ColumnElement[bool]) -> int:
    key = sa.tuple_(*table.primary_key.columns)
    chunk = sa.select(*table.primary_key.columns).where(old).limit(CHUNK)
    forgotten = 0
    while True:
        async with writing(engine) as connection:
            result = await connection.execute(sa.delete(table).where(key.in_(chunk)))
            if result.rowcount and table in DATED:
                await clear(connection)
        forgotten += result.rowcount
        if result.rowcount < CHUNK:
            return forgotten
