"""Brings the database to the tables of this version; any number of workers may try at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.store.engine import writing

_LOCK = 0x6769_7470_756C_7365
"""PostgreSQL advisory lock that one migrating process holds: "gitpulse"."""


async def migrate(engine: AsyncEngine) -> None:
    """Runs the migrations that are missing, in one transaction. Raises StoreUnavailable."""
    async with writing(engine) as connection:
        if engine.dialect.name == "postgresql":  # SQLite's write transaction is a lock already
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "gitpulse_service.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
