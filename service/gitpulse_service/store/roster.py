"""The map of people: who is in which team, and under what names they appear.

Each source (a file, Kubernetes) has a map of its own, kept as it was given. The tables that queries join are made of
all of them together, whenever one changes; which was first makes no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from gitpulse_service.contract import Person, Team
from gitpulse_service.store.keys import fold
from gitpulse_service.store.tables import Text, metadata


def _table(name: str, key: str, *more: str, comment: str) -> sa.Table:
    columns = [sa.Column(it, Text, primary_key=True) for it in key.split()]
    return sa.Table(name, metadata, *columns, *(sa.Column(it, Text, nullable=False) for it in more), comment=comment)


_GIVEN = "The map of people as each source gave it: a JSON list of contract.Team"
_TEAMS = "Teams; of one that several sources have, the first of them decides the time zone"
_ALIASES = "Whose an author, email, account (GitLab id), username or name is; values as keys.fold makes them"
_BOTS = "Patterns of LIKE with the escape character ! for user names and e-mail addresses of machines"
roster = _table("roster", "source", "teams", comment=_GIVEN)
team = _table("team", "name", "source", "time_zone", comment=_TEAMS)
member = _table("member", "team person", comment="Who is in which team; persons go by their display name")
alias = _table("alias", "kind value", "person", comment=_ALIASES)
bot = _table("bot", "pattern", comment=_BOTS)

Handle = tuple[str, str]
"""Kind and value of an alias."""


@dataclass(slots=True)
class Resolved:
    """All sources' maps together."""

    teams: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> source, time zone."""
    members: set[tuple[str, str]] = field(default_factory=set)
    """Team, person."""
    aliases: dict[Handle, str] = field(default_factory=dict)
    bots: set[str] = field(default_factory=set)
    conflicts: dict[Handle, list[str]] = field(default_factory=dict)
    """What several persons claim: it is the first one's."""

    def rows(self) -> dict[sa.Table, list[dict[str, str]]]:
        """The content of the tables that are made of `roster`."""
        return {
            team: [{"name": name, "source": source, "time_zone": zone} for name, (source, zone) in self.teams.items()],
            member: [{"team": name, "person": person} for name, person in self.members],
            alias: [{"kind": kind, "value": value, "person": who} for (kind, value), who in self.aliases.items()],
            bot: [{"pattern": pattern} for pattern in self.bots],
        }


def resolve(maps: Mapping[str, Sequence[Team]]) -> Resolved:
    """Makes one map of all sources'. The order in which they came does not matter."""
    found = Resolved()
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    claims: defaultdict[Handle, set[str]] = defaultdict(set)
    within: set[tuple[str, str]] = set()
    for source in sorted(maps):
        for it in maps[source]:
            found.bots |= set(map(_like, it.bots))
            if it.name:
                found.teams.setdefault(it.name, (source, it.time_zone))
            for person in it.members:
                who = fold(person.name)
                spellings[who].add(person.name)
                within |= {(it.name, who)} if it.name else set()
                for handle in aliases_of(person):
                    claims[handle].add(who)
    shown = {who: min(names) for who, names in spellings.items()}
    found.members = {(name, shown[who]) for name, who in within}
    found.aliases = {handle: shown[min(by)] for handle, by in claims.items()}
    found.conflicts = {handle: [shown[who] for who in sorted(by)] for handle, by in claims.items() if len(by) > 1}
    return found


def aliases_of(person: Person) -> Iterator[Handle]:
    """All that stands for somebody."""
    given: dict[str, Iterable[str]] = {
        "author": person.authors,
        "email": person.emails,
        "account": map(str, person.gitlab_ids),
        "username": person.usernames,
        "name": (person.name, *person.names),
    }
    return ((kind, folded) for kind, values in given.items() for value in values if (folded := fold(value)))


def _like(pattern: str) -> str:
    """`renovate*` as LIKE has it."""
    plain = fold(pattern)
    for special in "!%_":
        plain = plain.replace(special, f"!{special}")
    return plain.replace("*", "%")
