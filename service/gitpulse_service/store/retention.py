"""What the store forgets in time: raw deliveries, kept so that numbers can be recomputed, but not for ever."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.store.engine import store_errors
from gitpulse_service.store.tables import delivery

CHUNK = 5000
"""Rows deleted in one transaction, so that drains need not wait long for the locks."""


async def forget_deliveries(engine: AsyncEngine, before: datetime) -> int:
    """Deletes raw deliveries that were received before this time; returns how many. Raises StoreUnavailable."""
    key = sa.tuple_(*delivery.primary_key.columns)
    old = sa.select(*delivery.primary_key.columns).where(delivery.c.received_at < before).limit(CHUNK)
    forgotten = 0
    with store_errors(engine):
        while True:
            async with engine.execution_options(gitpulse_writes=True).begin() as connection:
                result = await connection.execute(sa.delete(delivery).where(key.in_(old)))
            forgotten += result.rowcount
            if result.rowcount < CHUNK:
                return forgotten
