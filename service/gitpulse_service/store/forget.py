"""Forgets a person on request: what they are called goes, what they did stays counted, as of nobody that is named.

An identity that is forgotten keeps its row under a version that nothing exceeds, so that what comes later does not
bring it back. The row of an e-mail address alone, without a name, says that the address is forgotten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.errors import ServiceError
from gitpulse_service.events.privacy import pseudonym
from gitpulse_service.store import keys
from gitpulse_service.store.engine import reading, writing
from gitpulse_service.store.people import FORGOTTEN, attribution, drop, keeps_emails, lock
from gitpulse_service.store.roster import alias
from gitpulse_service.store.tables import delivery, identity

CHUNK = 500
"""Raw deliveries that are looked through at a time."""
_BLANK = dict.fromkeys(("email", "username", "name_key", "email_key", "username_key", "account_key"), "")


class WrongPerson(ServiceError):
    """Nobody, or more than one, goes by this name."""

    reason = "WrongPerson"


@dataclass(slots=True)
class Known:
    """All that is known of somebody."""

    person: str | None = None
    """By the map of people."""
    identities: list[Any] = field(default_factory=list)
    """Those that are not forgotten: id, name, email, username."""
    names: set[str] = field(default_factory=set)
    emails: set[str] = field(default_factory=set)
    usernames: set[str] = field(default_factory=set)

    def mentions(self) -> re.Pattern[str]:
        """Finds them in a delivery. A single word is theirs only where it is a whole value, or after an @."""
        texts = {form for text in self.names | self.emails | self.usernames for form in (text, json.dumps(text)[1:-1])}
        plain = [re.escape(text) for text in sorted(texts)]
        forms = (text if re.search(r"@|~|\\ ", text) else f'"{text}"|@{text}\\b' for text in plain)
        return re.compile("|".join(forms), re.IGNORECASE)

    def keys(self) -> set[int]:
        """Of git authors under which deliveries may bring them back: redacted ones have the name alone."""
        names, emails = {None, *self.names}, {None, *self.emails, *map(keys.fold, self.emails)}
        return {keys.author(name, email) for name in names for email in emails if name or email}


async def find(engine: AsyncEngine, who: str) -> Known:
    """Who goes by this name, e-mail address or user name. Raises WrongPerson, StoreUnavailable."""
    if not keeps_emails(engine):
        who = pseudonym(who)
    if not (wanted := keys.fold(who)):
        raise WrongPerson("that is nobody: give a name, an e-mail address or a user name")
    whose, i = attribution(), identity.c
    query = sa.select(i.id, i.name, i.email, i.username, i.name_key, i.email_key, i.username_key, whose.c.person)
    query = query.join_from(identity, whose, whose.c.identity == i.id).where(i.version < FORGOTTEN).order_by(i.id)
    async with reading(engine) as connection:
        rows = (await connection.execute(query)).all()
        aliases = (await connection.execute(sa.select(alias.c.kind, alias.c.value, alias.c.person))).all()
    direct = [row for row in rows if wanted in (row.name_key, row.email_key, row.username_key)]
    persons = {row.person for row in direct if row.person} | {
        person for _, value, person in aliases if wanted in (value, keys.fold(person))
    }
    if len(persons) > 1:
        raise WrongPerson(f"{who} may be {' or '.join(sorted(persons))}: name one of them")
    found = Known(person=min(persons, default=None))
    found.identities = [row for row in rows if row in direct or (row.person and row.person == found.person)]
    (found.emails if who[0] == "~" or "@" in who else found.names).add(who)
    theirs = [(kind, value) for kind, value, person in aliases if person == found.person]
    for kind, into in {"name": found.names, "email": found.emails, "username": found.usernames}.items():
        into.update(text for row in found.identities if (text := getattr(row, kind)))
        into.update(value for of_kind, value in theirs if of_kind == kind)
    return found


async def forget(engine: AsyncEngine, known: Known, *, erase: bool) -> dict[str, Any]:
    """Blanks the identities and drops raw deliveries and aliases; again, for what has come since. Says how many.

    Without `erase` the identities stay together under a pseudonym. Raises StoreUnavailable.
    """
    deliveries = await _drop_deliveries(engine, known.mentions())  # first: the names are gone afterwards
    async with writing(engine) as connection:
        await lock(connection)
        ids = {row.id for row in known.identities} | known.keys()
        pseudonym = await _pseudonym(connection, ids, known.names)
        shown = "" if erase else pseudonym
        await _blank(connection, ids, shown)
        again = sa.update(identity).where(identity.c.version == FORGOTTEN, identity.c.name == pseudonym)
        await connection.execute(again.values(name=shown))
        sources = await drop(connection, known.person)
    return {"identities": len(known.identities), "deliveries": deliveries, "sources": sources, "now": shown}


async def stay_forgotten(engine: AsyncEngine) -> int:
    """Forgets what has come under an e-mail address that is forgotten, and a new name. Raises StoreUnavailable."""
    i = identity.c
    query = sa.select(i.id, i.name, i.email, i.version).where(sa.or_(i.email != "", i.version == FORGOTTEN))
    async with writing(engine) as connection:
        rows = (await connection.execute(query)).all()
        gone = {row.id: row.name for row in rows if row.version == FORGOTTEN}
        back = {row.id: keys.author(None, keys.fold(row.email)) for row in rows if row.version != FORGOTTEN}
        again = {key: gone[mark] for key, mark in back.items() if mark in gone}
        for shown in set(again.values()):
            await _blank(connection, [key for key in again if again[key] == shown], shown)
    return len(again)


async def _pseudonym(connection: AsyncConnection, ids: Iterable[int], names: Iterable[str]) -> str:
    """The one that they have been given before, or one made of what tells nothing."""
    i = identity.c
    known = sa.select(sa.func.max(i.name)).where(i.version == FORGOTTEN, sa.or_(i.id.in_(ids), i.name.in_(names)))
    return await connection.scalar(known) or f"person-{min(ids) % 16**8:08x}"


async def _blank(connection: AsyncConnection, ids: Iterable[int], shown: str) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    blank = {**_BLANK, "name": shown, "version": FORGOTTEN}
    statement = insert(identity).on_conflict_do_update(index_elements=["id"], set_=blank)
    await connection.execute(statement, [{"id": key, **blank} for key in sorted(ids)])


async def _drop_deliveries(engine: AsyncEngine, mentions: re.Pattern[str]) -> int:
    columns = list(delivery.primary_key.columns)
    key, every = sa.tuple_(*columns), sa.select(*columns, delivery.c.body).order_by(*columns).limit(CHUNK)
    dropped, query = 0, every
    while True:
        async with writing(engine) as connection:
            rows = (await connection.execute(query)).all()
            found = [tuple(row[:-1]) for row in rows if mentions.search((row[-1] or b"").decode(errors="replace"))]
            await connection.execute(sa.delete(delivery).where(key.in_(found)))
        dropped += len(found)
        if len(rows) < CHUNK:
            return dropped
        query = every.where(key > sa.tuple_(*rows[-1][:-1], types=[column.type for column in columns]))
