"""Writes one batch in one transaction; writing it again, or in another order, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.events.decode import Event
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.store import rollups
from gitpulse_service.store.engine import writing
from gitpulse_service.store.people import keeps_emails
from gitpulse_service.store.rows import Rows
from gitpulse_service.store.tables import Join
from gitpulse_service.store.telling import rows_of


async def apply(engine: AsyncEngine, batch: Iterable[tuple[Envelope, Event | None]]) -> None:
    """Makes the tables say what these deliveries say, all of them or none. Raises StoreUnavailable, StoreRefused."""
    rows = told(engine, batch)
    async with writing(engine) as connection:
        await put(connection, rows)


def told(engine: AsyncEngine, batch: Iterable[tuple[Envelope, Event | None]]) -> Rows:
    """What the tables are to say, as this store is set up."""
    return rows_of(batch, keep_emails=keeps_emails(engine))


async def put(connection: AsyncConnection, rows: Rows) -> None:
    """Joins rows with those that the tables have."""
    changed = {}
    for table, of_table in rows.items():
        if connection.dialect.name == "postgresql":
            statement, names = _upsert_arrays(table)
            # Straight to the driver, which takes these values as they are: SQLAlchemy would look at each.
            result = await connection.exec_driver_sql(statement, tuple([row[it] for row in of_table] for it in names))
        else:
            result = await connection.execute(_upsert_rows(table), of_table)
        if result.rowcount:
            changed[table] = of_table
    await rollups.touch(connection, changed)


@cache
def _upsert_rows(table: sa.Table) -> sa.Insert:
    return _upsert(table, sqlite.insert(table))


@cache
def _upsert_arrays(table: sa.Table) -> tuple[str, Sequence[str]]:
    """One statement with an array for each column, and their order: up to twice as fast as one for each row."""
    names = [column.name for column in table.columns]
    arrays = [sa.bindparam(c.name, type_=postgresql.ARRAY(_element(c.type))) for c in table.columns]
    rows = postgresql.insert(table).from_select(names, sa.select(*map(sa.func.unnest, arrays)))
    compiled: Any = _upsert(table, rows).compile(dialect=asyncpg.dialect())  # type: ignore[no-untyped-call]
    return str(compiled), compiled.positiontup


def _element(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    return sa.Text() if isinstance(kind, sa.Text) else kind  # an array has no place for a collation


def _upsert(table: sa.Table, insert: postgresql.Insert | sqlite.Insert) -> sa.Insert:
    """`INSERT … ON CONFLICT`, joining column by column; a row that has nothing new to say is not touched."""
    said = insert.excluded
    better = {
        column: _better(join, said, column) for column in table.columns if (join := column.info["join"]) is not Join.KEY
    }
    if not better:
        return insert.on_conflict_do_nothing()
    return insert.on_conflict_do_update(
        index_elements=table.primary_key.columns,
        set_={column.name: sa.case((it, said[column.name]), else_=column) for column, it in better.items()},
        where=sa.or_(*better.values()),
    )


def _better(join: Join, said: sa.ColumnCollection[str, Any], column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Whether the new row's value replaces the one that stands."""
    own = "version" if join is Join.STATE else column.name
    new: sa.ColumnElement[Any] = said[own]
    old: sa.ColumnElement[Any] = column.table.c[own]
    if join is Join.STATE:
        return new > old
    better = sa.or_(new > old if join is Join.GREATEST else new < old, sa.and_(old.is_(None), new.is_not(None)))
    if join is Join.FIRST:
        new, old = said["received_at"], column.table.c["received_at"]
        return sa.or_(new < old, sa.and_(new == old, better))
    return better
