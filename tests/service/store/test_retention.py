"""Raw deliveries go when their time is over, and nothing else does."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from gitpulse_service.events.envelope import Envelope
from gitpulse_service.store import retention, tables
from gitpulse_service.store.write import apply

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def envelope(number: int, age: timedelta) -> Envelope:
    received = int((NOW - age).timestamp() * 1000)
    return Envelope("hook", f"delivery-{number}", "Push Hook", "https://gitlab.example.com", 1, received, b"{}")


async def test_only_what_is_older_is_forgotten_however_much_it_is(engine, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 7)
    old = [envelope(number, timedelta(days=31)) for number in range(20)]
    young = [envelope(number, timedelta(days=29)) for number in range(20, 23)]
    await apply(engine, [(one, None) for one in old + young])
    assert await retention.forget_deliveries(engine, NOW - timedelta(days=30)) == 20
    async with engine.connect() as connection:
        left = await connection.execute(sa.select(tables.delivery.c.delivery_id).order_by("delivery_id"))
        assert left.scalars().all() == ["delivery-20", "delivery-21", "delivery-22"]
    assert await retention.forget_deliveries(engine, NOW - timedelta(days=30)) == 0
