"""The hourly job that forgets raw deliveries."""

import hashlib
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from gitpulse_service.events.envelope import Envelope
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store import sessions, tables
from gitpulse_service.store.write import apply
from gitpulse_service.worker.jobs import arq_settings, retire


def envelope(name: str, received: datetime) -> Envelope:
    return Envelope("hook", name, "Push Hook", "https://gitlab.example.com", 1, int(received.timestamp() * 1000), b"{}")


async def test_what_is_older_than_the_setting_goes(engine):
    now = datetime.now(UTC)
    await apply(
        engine, [(envelope("old", now - timedelta(days=3)), None), (envelope("new", now - timedelta(days=1)), None)]
    )
    await retire({"engine": engine, "kept": {"delivery": timedelta(days=2)}})
    async with engine.connect() as connection:
        assert (await connection.execute(sa.select(tables.delivery.c.delivery_id))).scalars().all() == ["new"]


async def test_sessions_that_are_over_go(engine):
    account = sessions.Account("https://gitlab.example.com", "7", "bob", None, frozenset())
    kept, over = [await sessions.begin(engine, account) for _ in range(2)]
    long_ago = datetime.now(UTC) - sessions.LIFETIME - timedelta(minutes=1)
    table = sessions.session
    async with engine.begin() as connection:
        gone = sa.update(table).where(table.c.hash == hashlib.sha256(over.encode()).digest())
        await connection.execute(gone.values(created_at=long_ago))
    await retire({"engine": engine, "kept": {}})
    async with engine.connect() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one() == 1
    assert await sessions.find(engine, kept, account.issuer) == account


async def test_arq_runs_it_every_hour(service_environment):
    jobs = {job.name: job for job in arq_settings(ServiceSettings.load())["cron_jobs"]}
    assert jobs["cron:retire"].minute is not None
    assert jobs["cron:retire"].hour is None
