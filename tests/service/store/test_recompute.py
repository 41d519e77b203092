"""Numbers again from raw deliveries: the same as they were, and what an older version did not read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import sqlalchemy as sa

from gitpulse_service.events.decode import decode
from gitpulse_service.store import tables
from gitpulse_service.store.recompute import recompute
from gitpulse_service.store.write import apply
from harness.dumps import dump
from harness.histories import History
from harness.samples import envelope

BAD = envelope({"object_kind": "push", "project_id": "none"}, delivery_id="bad")


async def filled(engine):
    """A store that has read nothing in what it holds; and what it would hold."""
    deliveries = History(Random(7), 120).deliveries
    await apply(engine, [(one, decode(one)) for one in deliveries])
    whole = await dump(engine)
    async with engine.begin() as connection:
        for table in tables.metadata.sorted_tables:
            if table is not tables.delivery:
                await connection.execute(sa.delete(table))
    return deliveries, whole


async def test_what_an_older_version_did_not_read_is_counted(engine):
    deliveries, whole = await filled(engine)
    told = [progress async for progress in recompute(engine, events=50)]
    assert await dump(engine) == whole
    assert [progress.deliveries for progress in told][:2] == [50, 100]
    assert told[-1].deliveries == len(deliveries)
    assert [progress async for progress in recompute(engine, since=told[-1].until + timedelta(seconds=1))] == []


async def test_it_goes_on_where_it_was_cut_off(engine):
    _, whole = await filled(engine)
    async for progress in recompute(engine, events=60):
        if progress.deliveries >= 120:
            break
    since = progress.until.replace(microsecond=0)
    assert [progress async for progress in recompute(engine, since=since)]
    assert await dump(engine) == whole


async def test_a_transaction_holds_about_so_many_bytes(engine):
    deliveries, _ = await filled(engine)
    largest = max(len(one.body) for one in deliveries)
    told = [progress.deliveries async for progress in recompute(engine, events=50, size=largest)]
    assert told[-1] == len(deliveries)
    assert told[0] < 50
    assert [p.deliveries async for p in recompute(engine, events=50, size=1)] == list(range(1, len(deliveries) + 1))


async def test_what_cannot_be_counted_is_left_out(engine):
    _, whole = await filled(engine)
    await apply(engine, [(BAD, None)])
    last = [progress async for progress in recompute(engine)][-1]
    assert last.left_out == 1
    assert last.until > datetime(2026, 1, 1, tzinfo=UTC)
    del whole["delivery"]
    assert {table: rows for table, rows in (await dump(engine)).items() if table in whole} == whole
