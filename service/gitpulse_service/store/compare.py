"""What rows would change in the database: the measure of how far the numbers were from the truth."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gitpulse_service.store.rows import Rows, join
from gitpulse_service.store.tables import delivery, todo

UNCOUNTED = {"version", "seen_at", "received_at", "last_event_at"}
"""Columns that say how something became known."""


async def differing(connection: AsyncConnection, rows: Rows) -> tuple[int, int]:
    """How many of these rows are not in the database, or would say something else in it, and how many would not."""
    same = total = 0
    for table, wanted in rows.items():
        if table in (delivery, todo):  # how we know, and what we do not
            continue
        total += len(wanted)
        key = tuple(column.name for column in table.primary_key)
        columns = [table.c[name] for name in key]
        found = await connection.execute(
            sa.select(table).where(sa.tuple_(*columns).in_([tuple(row[name] for name in key) for row in wanted]))
        )
        known = {tuple(row[name] for name in key): dict(row) for row in found.mappings()}
        for row in wanted:
            if old := known.get(tuple(row[name] for name in key)):
                new = join(table, old, row)
                same += all(new[name] == old[name] for name in new if name not in UNCOUNTED)
    return total - same, same
