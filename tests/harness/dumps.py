"""All that a store holds, for comparing two of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.store.tables import metadata


async def dump(engine: AsyncEngine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted by key."""
    async with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }


async def wipe(engine: AsyncEngine) -> None:
    """Empties every table."""
    async with engine.begin() as connection:
        for table in metadata.sorted_tables:
            await connection.execute(sa.delete(table))


async def count(engine: AsyncEngine, table: str) -> int:
    """Rows of one table."""
    async with engine.connect() as connection:
        return (await connection.execute(sa.select(sa.func.count()).select_from(metadata.tables[table]))).scalar_one()
