"""Bearer tokens of the query API: who may ask, and about which teams. Only a token's hash is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.errors import StoreRefused, StoreUnavailable, WrongToken
from gitpulse_service.store.engine import reading, writing
from gitpulse_service.store.tables import Bytes, Text, UtcDateTime

PREFIX = "gpt_"
"""What every token begins with, so that scanners for leaked secrets can know it."""
USE_NOTED = timedelta(hours=1)
"""How exactly it is noted when a token was last used: more would be a write for each question."""

# Not the metadata of `tables`: what is counted can be thrown away and counted again, and tokens cannot.
token = sa.Table(
    "token",
    sa.MetaData(),
    sa.Column("name", Text, primary_key=True),
    sa.Column("hash", Bytes, nullable=False),
    sa.Column("teams", Text),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("expires_at", UtcDateTime()),
    sa.Column("used_at", UtcDateTime()),
    sa.Index("token_hash", "hash"),
    comment="Tokens of the query API by their SHA-256; teams is a JSON list, NULL for all",
)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; not the token."""

    name: str
    teams: frozenset[str] | None
    """None: all teams, and what belongs to none."""
    created: datetime
    expires: datetime | None
    used: datetime | None
    """Give or take an hour."""


async def create(engine: AsyncEngine, name: str, teams: Collection[str] | None, expires_at: datetime | None) -> str:
    """Makes a token; it is told this once. Raises WrongToken where the name is taken, StoreUnavailable."""
    secret = PREFIX + secrets.token_urlsafe(32)
    row = {
        "name": name,
        "hash": hashed(secret),
        "teams": None if teams is None else json.dumps(sorted(teams)),
        "created_at": datetime.now(UTC).replace(microsecond=0),
        "expires_at": expires_at,
    }
    try:
        await write(engine, sa.insert(token).values(row))
    except StoreRefused:
        raise WrongToken(f"there is a token {name} already; revoke it, or choose another name") from None
    return secret


async def find(engine: AsyncEngine, secret: str) -> Token | None:
    """The token, if it is one and its time is not over. Raises StoreUnavailable.

    It is looked up by its hash, so that no time depends on how much of a wrong one is right.
    """
    if not (found := await _select(engine, token.c.hash == hashed(secret))):
        return None
    (it,), now = found, datetime.now(UTC)
    if it.expires is not None and it.expires <= now:
        return None
    if it.used is None or now - it.used > USE_NOTED:
        with contextlib.suppress(StoreUnavailable):  # a database that cannot write now can still answer
            await write(engine, sa.update(token).where(token.c.name == it.name).values(used_at=now))
    return it


async def tokens(engine: AsyncEngine) -> list[Token]:
    """All of them, by name. Raises StoreUnavailable."""
    return await _select(engine, sa.true())


async def revoke(engine: AsyncEngine, name: str) -> None:
    """From now on it opens nothing. Raises WrongToken where there is none, StoreUnavailable."""
    if not await write(engine, sa.delete(token).where(token.c.name == name)):
        raise WrongToken(f"there is no token {name}; `gitpulse tokens list` shows them")


async def _select(engine: AsyncEngine, wanted: sa.ColumnElement[bool]) -> list[Token]:
    c = token.c
    query = sa.select(c.name, c.teams, c.created_at, c.expires_at, c.used_at).where(wanted).order_by(c.name)
    async with reading(engine) as connection:
        rows = (await connection.execute(query)).all()
    return [Token(name, None if teams is None else frozenset(json.loads(teams)), *at) for name, teams, *at in rows]


async def write(engine: AsyncEngine, statement: sa.Executable) -> int:
    """Executes it in a transaction of its own; how many rows it was. Raises StoreUnavailable, StoreRefused."""
    async with writing(engine) as connection:
        return int((await connection.execute(statement)).rowcount)


def hashed(secret: str) -> bytes:
    """What is kept of a secret that is random enough for that."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()
