"""The numbers made again from the raw deliveries that are kept, for a version that reads more in them than the last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.errors import StoreRefused, Undecodable
from gitpulse_service.events.decode import Event, decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.store.engine import reading
from gitpulse_service.store.tables import delivery
from gitpulse_service.store.write import apply

_KEY = tuple(delivery.primary_key.columns)
_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come."""

    until: datetime
    """All that was received before is done."""
    deliveries: int = 0
    left_out: int = 0
    """Those that cannot be counted, as they could not before."""


async def recompute(
    engine: AsyncEngine, *, since: datetime | None = None, events: int = 500, size: int = 8 * 1024 * 1024
) -> AsyncIterator[Progress]:
    """Applies what was received from then on again, in that order; tells after each transaction of `events` or `size`.

    What is there stays: a row only learns. So it may be cut off, begun anew, and run beside workers. Raises
    StoreUnavailable.
    """
    progress, after = Progress(since or _EARLIEST), (since or _EARLIEST, "", "")
    while True:
        async with reading(engine) as connection:
            rows = await _next(connection, after, events, size)
        if not rows:
            return
        batch, left_out = [], 0
        for row in rows:
            envelope = _envelope(row)
            try:
                batch.append((envelope, decode(envelope)))
            except Undecodable:
                left_out += 1
        left_out += await _apply(engine, batch)
        after = tuple(rows[-1][column.name] for column in _KEY)
        progress = Progress(after[0], progress.deliveries + len(rows), progress.left_out + left_out)
        yield progress


async def _next(connection: AsyncConnection, after: Sequence[Any], events: int, size: int) -> Sequence[sa.RowMapping]:
    """At most so many of the rows behind that key, of about that size together, and at least one."""
    later = sa.select(delivery).where(sa.tuple_(*_KEY) > sa.tuple_(*_bound(after))).order_by(*_KEY)
    sizes = later.with_only_columns(sa.func.length(delivery.c.body)).limit(events)
    taken, total = 0, 0
    for length in (await connection.execute(sizes)).scalars():
        if taken and total + length > size:
            break
        taken, total = taken + 1, total + length
    return (await connection.execute(later.limit(taken))).mappings().all()


def _bound(key: Sequence[Any]) -> list[sa.BindParameter[Any]]:
    return [sa.literal(value, column.type) for value, column in zip(key, _KEY, strict=True)]


async def _apply(engine: AsyncEngine, batch: list[tuple[Envelope, Event | None]]) -> int:
    """Writes a batch; one that the database refuses, delivery by delivery. Returns how many it refuses."""
    try:
        await apply(engine, batch)
    except StoreRefused:
        if len(batch) == 1:
            return 1
        return sum([await _apply(engine, [one]) for one in batch])
    return 0


def _envelope(row: sa.RowMapping) -> Envelope:
    received = round(row["received_at"].timestamp() * 1000)
    return Envelope(row["hook_id"], row["delivery_id"], row["event"], row["instance"], 0, received, row["body"])
