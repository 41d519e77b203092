"""Who has signed in to the dashboard, and for how long. Only a hash of what their browser shows is kept."""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.events.privacy import pseudonym
from gitpulse_service.store.engine import reading
from gitpulse_service.store.keys import fold
from gitpulse_service.store.people import keeps_emails
from gitpulse_service.store.roster import Handle
from gitpulse_service.store.tables import Bytes, Text, UtcDateTime
from gitpulse_service.store.tokens import hashed, write

LIFETIME = timedelta(hours=24)
"""After which one signs in again, however busy: who was blocked in GitLab gets out then. It costs others one click."""
IDLE = timedelta(hours=12)
"""After which one does where nothing was asked for."""
USE_NOTED = timedelta(minutes=5)
"""How exactly it is noted when a session was last used: more would be a write for each page."""

# Not the metadata of `tables`: see `tokens`.
session = sa.Table(
    "session",
    sa.MetaData(),
    sa.Column("hash", Bytes, primary_key=True),
    sa.Column("issuer", Text, nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("username", Text, nullable=False),
    sa.Column("email", Text),
    sa.Column("groups", Text, nullable=False),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("used_at", UtcDateTime(), nullable=False),
    comment="Who is signed in, by the SHA-256 of their session's id; groups is a JSON list of those that see all",
)


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody's account, as their GitLab told of it when they signed in."""

    issuer: str
    """The GitLab's URL."""
    id: str
    """By which the GitLab knows it, whatever it is called."""
    username: str
    email: str | None
    """One that GitLab has verified, or its pseudonym."""
    groups: frozenset[str]
    """Those of its groups by which it may see all: full paths."""

    def handles(self) -> list[Handle]:
        """By what it is looked up in the map of people, the surest first."""
        emails = dict.fromkeys((self.email, pseudonym(self.email))) if self.email else ()
        given = [("account", self.id), *(("email", it) for it in emails if it), ("username", self.username)]
        return [(kind, fold(value)) for kind, value in given]


async def begin(engine: AsyncEngine, account: Account) -> str:
    """Makes a session; its id is told this once. What is over is forgotten. Raises StoreUnavailable."""
    secret, now = secrets.token_urlsafe(32), datetime.now(UTC).replace(microsecond=0)
    email = account.email if account.email is None or keeps_emails(engine) else pseudonym(account.email)
    row = {
        "hash": hashed(secret),
        "issuer": account.issuer,
        "account": account.id,
        "username": account.username,
        "email": email,
        "groups": json.dumps(sorted(account.groups)),
        "created_at": now,
        "used_at": now,
    }
    await forget(engine, now)
    await write(engine, sa.insert(session).values(row))
    return secret


async def find(engine: AsyncEngine, secret: str, issuer: str) -> Account | None:
    """Whose session this is, if it is one of this GitLab's and not over. Raises StoreUnavailable."""
    c, now = session.c, datetime.now(UTC)
    this, fresh = c.hash == hashed(secret), (c.created_at > now - LIFETIME, c.used_at > now - IDLE)
    query = sa.select(c.account, c.username, c.email, c.groups, c.used_at).where(this, c.issuer == issuer, *fresh)
    async with reading(engine) as connection:
        found = (await connection.execute(query)).first()
    if found is None:
        return None
    if now - found.used_at > USE_NOTED:
        with contextlib.suppress(StoreUnavailable):  # a database that cannot write now can still answer
            await write(engine, sa.update(session).where(this).values(used_at=now))
    return Account(issuer, found.account, found.username, found.email, frozenset(json.loads(found.groups)))


async def end(engine: AsyncEngine, secret: str) -> None:
    """From now on it opens nothing. Raises StoreUnavailable."""
    await write(engine, sa.delete(session).where(session.c.hash == hashed(secret)))


async def end_all(engine: AsyncEngine, who: str) -> int:
    """The same of all whose account has this user name, e-mail address or number. Returns how many there were.

    Raises StoreUnavailable.
    """
    c, wanted = session.c, {fold(who), fold(pseudonym(who))}
    async with reading(engine) as connection:
        rows = await connection.execute(sa.select(c.hash, c.issuer, c.account, c.username, c.email))
        accounts = {row.hash: Account(*row[1:], frozenset()) for row in rows}
    theirs = [each for each, it in accounts.items() if wanted & {value for _, value in it.handles()}]
    await write(engine, sa.delete(session).where(c.hash.in_(theirs)))
    return len(theirs)


async def forget(engine: AsyncEngine, now: datetime) -> None:
    """Forgets sessions that are over. Raises StoreUnavailable."""
    over = sa.or_(session.c.created_at <= now - LIFETIME, session.c.used_at <= now - IDLE)
    await write(engine, sa.delete(session).where(over))
