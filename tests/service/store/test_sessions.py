"""Sessions: kept as hashes, found by them, until they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gitpulse_service.store import sessions
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.sessions import Account

GITLAB = "https://gitlab.example.com"
BOB = Account(GITLAB, "7", "Bob", "bob@acme.example", frozenset({"acme/leads"}))
NOW = datetime.now(UTC).replace(microsecond=0)


async def rows(engine):
    async with engine.connect() as connection:
        return (await connection.execute(sa.select(sessions.session))).all()


async def aged(engine, **values):
    async with engine.begin() as connection:
        await connection.execute(sa.update(sessions.session).values(values))


async def test_only_a_hash_is_kept_and_the_account_is_found(engine):
    secret = await sessions.begin(engine, BOB)
    assert len(secret) == 43
    (row,) = await rows(engine)
    assert secret not in repr(row)
    assert len(row.hash) == 32
    assert await sessions.find(engine, secret, GITLAB) == BOB
    for wrong in (secret + "x", secret[:-1], "", "\udcff"):
        assert await sessions.find(engine, wrong, GITLAB) is None
    assert await sessions.find(engine, secret, "https://gitlab.com") is None


async def test_each_is_another_and_ends_alone(engine):
    one, two = [await sessions.begin(engine, BOB) for _ in range(2)]
    assert one != two
    await sessions.end(engine, one)
    assert await sessions.find(engine, one, GITLAB) is None
    assert await sessions.find(engine, two, GITLAB) == BOB


@pytest.mark.parametrize("who", ["bob", "BOB@acme.example", "7"])
@pytest.mark.parametrize("keep_emails", [True, False])
async def test_all_of_somebody_end_and_of_nobody_else(engine, database_url, who, keep_emails):
    ann = Account(GITLAB, "8", "ann", None, frozenset())
    store = create_engine(database_url, keep_emails=keep_emails)
    bobs, anns = [await sessions.begin(store, BOB) for _ in range(2)], await sessions.begin(store, ann)
    assert await sessions.end_all(store, "acme") == 0
    assert await sessions.end_all(store, "") == 0
    assert await sessions.end_all(store, who) == 2
    assert [await sessions.find(store, secret, GITLAB) for secret in bobs] == [None, None]
    assert await sessions.find(store, anns, GITLAB) == ann
    await store.dispose()


@pytest.mark.parametrize(("column", "after"), [("created_at", sessions.LIFETIME), ("used_at", sessions.IDLE)])
async def test_it_ends_in_its_time_and_is_forgotten(engine, column, after):
    secret = await sessions.begin(engine, BOB)
    await aged(engine, **{column: datetime.now(UTC) - after + timedelta(minutes=5)})
    assert await sessions.find(engine, secret, GITLAB) == BOB
    await aged(engine, **{column: datetime.now(UTC) - after - timedelta(seconds=1)})
    assert await sessions.find(engine, secret, GITLAB) is None
    assert len(await rows(engine)) == 1
    await sessions.begin(engine, BOB)
    assert len(await rows(engine)) == 1


async def test_its_use_is_noted_now_and_then(engine):
    secret = await sessions.begin(engine, BOB)
    (first,) = await rows(engine)
    await sessions.find(engine, secret, GITLAB)
    assert await rows(engine) == [first]
    await aged(engine, used_at=NOW - timedelta(hours=1))
    await sessions.find(engine, secret, GITLAB)
    (later,) = await rows(engine)
    assert later.used_at >= NOW
    assert later.created_at == first.created_at


async def test_where_no_addresses_are_kept_a_pseudonym_is(engine, database_url):
    private = create_engine(database_url, keep_emails=False)
    secret = await sessions.begin(private, BOB)
    await private.dispose()
    (row,) = await rows(engine)
    assert "acme.example" not in repr(row)
    found = await sessions.find(engine, secret, GITLAB)
    assert ("email", row.email) in found.handles()


def test_by_what_an_account_is_looked_up():
    kinds = [kind for kind, _ in BOB.handles()]
    assert kinds == ["account", "email", "email", "username"]
    assert BOB.handles()[::3] == [("account", "7"), ("username", "bob")]
    nameless = Account(GITLAB, "7", "Bob", None, frozenset())
    assert [kind for kind, _ in nameless.handles()] == ["account", "username"]
