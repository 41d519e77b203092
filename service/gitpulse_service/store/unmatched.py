"""What is counted for nobody that the map of people knows, and who it may be."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.store.engine import reading
from gitpulse_service.store.people import FORGOTTEN, attribution
from gitpulse_service.store.roster import alias
from gitpulse_service.store.tables import BASE, commit, identity

ALIKE = 0.8
"""From 0 to 1: how alike two names must be for one to be suggested for the other."""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """An identity that is nobody's and no bot's."""

    identity: int
    name: str | None
    email: str | None
    username: str | None
    commits: int
    other: int
    """All else that it has done."""
    suggestions: dict[str, str]
    """Person -> why."""


async def unmatched(engine: AsyncEngine, limit: int = 100) -> list[Unmatched]:
    """The busiest first. Raises StoreUnavailable."""
    whose, i = attribution(), identity.c
    columns = [c for table in BASE for c in table.columns if c.name in ("who", "author")]
    uses = sa.union_all(
        *(
            sa.select(
                c.label("identity"), sa.literal(int(c.table is commit)).label("is_commit"), sa.func.count().label("n")
            )
            .where(c.is_not(None))
            .group_by(c)
            for c in columns
        )
    ).subquery()
    shown = (it.is_not(None) for it in (i.name, i.email, i.username))
    commits, total = sa.func.sum(uses.c.n * uses.c.is_commit), sa.func.sum(uses.c.n)
    query = (
        sa.select(i.id, i.name, i.email, i.username, commits, total - commits)
        .join_from(identity, whose, whose.c.identity == i.id)
        .join(uses, uses.c.identity == i.id)
        .where(whose.c.person.is_(None), whose.c.bot == 0, i.version < FORGOTTEN, sa.or_(*shown))
        .group_by(i.id, i.name, i.email, i.username)
        .order_by(total.desc(), i.id)
        .limit(limit)
    )
    async with reading(engine) as connection:
        suggest = _suggester([tuple(row) for row in await connection.execute(sa.select(alias))])
        return [
            Unmatched(key, name, email, username, int(made), int(other), suggest(name, email, username))
            for key, name, email, username, made, other in await connection.execute(query)
        ]


def _suggester(aliases: list[tuple[str, str, str]]) -> Callable[[str | None, str | None, str | None], dict[str, str]]:
    """Kind, value and person of all aliases -> name, e-mail and user name -> person -> why."""
    handles: defaultdict[str, set[str]] = defaultdict(set)
    names: defaultdict[str, set[str]] = defaultdict(set)
    for kind, value, person in aliases:
        if kind in ("email", "username"):
            handles[_local(value)].add(person)
        elif kind == "name":
            names[_plain(value)].add(person)

    def suggest(name: str | None, email: str | None, username: str | None) -> dict[str, str]:
        found: dict[str, str] = {}
        for handle in {_local(text) for text in (email, username) if text}:
            found |= dict.fromkeys(sorted(handles.get(handle, ())), f"has {handle} elsewhere")
        for alike in difflib.get_close_matches(_plain(name or ""), names, cutoff=ALIKE):
            found |= {person: f"is called {alike}" for person in sorted(names[alike]) if person not in found}
        return found

    return suggest


def _local(text: str) -> str:
    return text.partition("@")[0].casefold()


def _plain(name: str) -> str:
    """Without accents, dots and commas, and in no order: `Doležal, D.` and `D Dolezal` are the same."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return " ".join(sorted(re.findall(r"\w+", letters.casefold())))
