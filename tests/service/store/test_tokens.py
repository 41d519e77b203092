"""Tokens of the query API: kept as hashes, found by them, until they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gitpulse_service.errors import WrongToken
from gitpulse_service.store import tokens

NOW = datetime.now(UTC).replace(microsecond=0)


async def test_only_a_hash_is_kept(engine):
    secret = await tokens.create(engine, "grafana", ["web"], NOW + timedelta(days=1))
    assert secret.startswith("gpt_")
    assert len(secret) == 4 + 43
    async with engine.connect() as connection:
        (row,) = (await connection.execute(sa.select(tokens.token))).all()
    assert secret[4:] not in repr(row)
    assert len(row.hash) == 32


async def test_it_is_found_with_its_teams(engine):
    one = await tokens.create(engine, "one", ["web", "ops"], None)
    every = await tokens.create(engine, "every", None, None)
    assert (await tokens.find(engine, one)).teams == {"web", "ops"}
    assert (await tokens.find(engine, every)).teams is None
    for wrong in (one + "x", one[:-1], one[4:], "", "gpt_", "\udcff"):
        assert await tokens.find(engine, wrong) is None


async def test_it_ends_in_its_time(engine):
    over = await tokens.create(engine, "over", None, NOW - timedelta(seconds=1))
    assert await tokens.find(engine, over) is None
    assert (await tokens.tokens(engine))[0].used is None


async def test_names_are_taken_and_freed(engine):
    secret = await tokens.create(engine, "grafana", None, None)
    with pytest.raises(WrongToken, match="grafana already"):
        await tokens.create(engine, "grafana", None, None)
    await tokens.revoke(engine, "grafana")
    assert await tokens.find(engine, secret) is None
    with pytest.raises(WrongToken, match="no token grafana"):
        await tokens.revoke(engine, "grafana")
    await tokens.create(engine, "grafana", None, None)


async def test_its_use_is_noted_now_and_then(engine):
    secret = await tokens.create(engine, "grafana", None, None)
    await tokens.find(engine, secret)
    (first,) = await tokens.tokens(engine)
    assert first.used >= NOW
    await tokens.find(engine, secret)
    assert await tokens.tokens(engine) == [first]
    long_ago = NOW - timedelta(hours=2)
    async with engine.begin() as connection:
        await connection.execute(sa.update(tokens.token).values(used_at=long_ago))
    await tokens.find(engine, secret)
    assert (await tokens.tokens(engine))[0].used >= NOW
