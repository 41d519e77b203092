"""Whose an identity is: the map of people as queries join it, and how it is changed.

Nothing of it is kept with what is counted, so a change is true of all history in the moment in which it commits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.contract import Person, Team
from gitpulse_service.events.privacy import without_emails
from gitpulse_service.store import keys
from gitpulse_service.store.engine import reading, writing
from gitpulse_service.store.roster import Handle, Resolved, alias, bot, member, resolve, roster
from gitpulse_service.store.tables import identity

FORGOTTEN = b"\xff" * 17
"""Version of an identity whose name is gone for good."""
_MAPS = list[Team]
_LOCK = 0x6769_7470_0000_0001
"""PostgreSQL advisory lock of whoever changes the map."""


def attribution() -> sa.Subquery:
    """One row an identity: `identity`, `person` (NULL: nobody that the map knows), `bot` (0 or 1).

    What tells more goes before: name and e-mail together, e-mail, GitLab id, user name, name.
    """
    i = identity.c
    values: dict[str, sa.ColumnElement[str]] = {
        "author": i.name_key + " <" + i.email_key + ">",
        "email": i.email_key,
        "account": i.account_key,
        "username": i.username_key,
        "name": i.name_key,
    }
    joined: sa.FromClause = identity
    persons = []
    for kind, value in values.items():
        of_kind = alias.alias(f"by_{kind}")
        joined = joined.outerjoin(of_kind, sa.and_(of_kind.c.kind == kind, of_kind.c.value == value))
        persons.append(of_kind.c.person)
    # Joined, not looked up with EXISTS: that would be done for each fact, not for each identity.
    matches = [value.like(bot.c.pattern, escape="!") for value in (i.username_key, i.email_key)]
    machine = sa.select(i.id).join_from(identity, bot, sa.or_(*matches)).distinct().subquery("machine")
    joined = joined.outerjoin(machine, machine.c.id == i.id)
    return (
        sa.select(
            i.id.label("identity"),
            sa.func.coalesce(*persons).label("person"),
            sa.case((machine.c.id.is_(None), 0), else_=1).label("bot"),
        )
        .select_from(joined)
        .subquery("attribution")
    )


async def teams_of(engine: AsyncEngine, handles: Sequence[Handle]) -> frozenset[str]:
    """The teams of whom the first of these handles stands for that the map knows. Raises StoreUnavailable."""
    a, m = alias.c, member.c
    query = sa.select(a.kind, a.value, a.person, m.team).outerjoin(member, m.person == a.person)
    async with reading(engine) as connection:
        rows = (await connection.execute(query.where(sa.tuple_(a.kind, a.value).in_(handles)))).all()
    person = next((row.person for it in handles for row in rows if (row.kind, row.value) == it), None)
    return frozenset(row.team for row in rows if row.person == person and row.team is not None)


async def replace(engine: AsyncEngine, source: str, teams: Sequence[Team]) -> Resolved:
    """Puts these in the place of all that this source said before; without any, the source is gone.

    Who is forgotten stays so. Returns the whole map, with what is claimed twice. Raises StoreUnavailable.
    """
    async with writing(engine) as connection:
        await lock(connection)
        gone = await _forgotten(connection)
        if not keeps_emails(engine):
            teams = msgspec.json.decode(without_emails(msgspec.json.encode(teams)), type=_MAPS)
        known = [_without(it, lambda p: any(keys.author(None, keys.fold(e)) in gone for e in p.emails)) for it in teams]
        return await _change(connection, {source: known})


def keeps_emails(engine: AsyncEngine) -> bool:
    """Whether addresses are kept, or pseudonyms in their place."""
    return bool(engine.get_execution_options().get("gitpulse_keep_emails", True))


async def drop(connection: AsyncConnection, person: str | None) -> list[str]:
    """Takes somebody out of all teams; returns the sources that had them."""
    who, maps = keys.fold(person or ""), await _maps(connection)
    after = {
        source: [_without(it, lambda p: keys.fold(p.name) == who) for it in teams] for source, teams in maps.items()
    }
    changed = {source: teams for source, teams in after.items() if teams != maps[source]}
    await _change(connection, changed)
    return sorted(changed)


async def lock(connection: AsyncConnection) -> None:
    """Until the transaction ends, nobody else changes the map, or identities for good. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


async def whole(engine: AsyncEngine) -> Resolved:
    """The map of all sources together. Raises StoreUnavailable."""
    async with reading(engine) as connection:
        return resolve(await _maps(connection))


def _without(team: Team, gone: Callable[[Person], bool]) -> Team:
    return msgspec.structs.replace(team, members=tuple(person for person in team.members if not gone(person)))


async def _forgotten(connection: AsyncConnection) -> set[int]:
    return set(await connection.scalars(sa.select(identity.c.id).where(identity.c.version == FORGOTTEN)))


async def _maps(connection: AsyncConnection) -> dict[str, list[Team]]:
    rows = await connection.execute(sa.select(roster.c.source, roster.c.teams))
    return {source: msgspec.json.decode(teams, type=_MAPS) for source, teams in rows}


async def _change(connection: AsyncConnection, changes: Mapping[str, list[Team]]) -> Resolved:
    """Writes these sources' maps, where they differ, and all that is made of the whole."""
    before = await _maps(connection)
    maps = {source: teams for source, teams in {**before, **changes}.items() if teams}
    after = resolve(maps)
    if maps != before:
        given = [{"source": source, "teams": msgspec.json.encode(teams).decode()} for source, teams in maps.items()]
        for table, rows in {roster: given, **after.rows()}.items():
            await connection.execute(sa.delete(table))
            if rows:
                await connection.execute(sa.insert(table), rows)
    return after
