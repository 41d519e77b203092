"""The rows of one transaction: what a batch says, joined by the rules that the tables state. Pure."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa

from gitpulse_service.events.decode import Event
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.privacy import hidden, pseudonym, without_emails, without_secrets
from gitpulse_service.store import keys, tables
from gitpulse_service.store.tables import Join

Value: TypeAlias = Any
Row: TypeAlias = dict[str, Value]
Rows: TypeAlias = dict[sa.Table, list[Row]]
"""The rows of each table, sorted by key, at most one a key. Tables come always in the same order."""


def version(moment: datetime | None, rank: int) -> bytes:
    """Orders what is said about one object: by its own time, then by how far its status is.

    8 bytes of microseconds since 1970 and 1 of rank, big-endian, so that bytes compare as the values do. 8 of a digest
    of the state follow, so that among equals it is always the same one that stays.
    """
    return moment_of(moment) + rank.to_bytes(1)


def knowledge(rank: int, moment: datetime | None) -> bytes:
    """The same where the rank comes first: that of what is known, for what no delivery tells whole."""
    return rank.to_bytes(1) + moment_of(moment)


def moment_of(moment: datetime | None) -> bytes:
    """What a version of that moment begins with."""
    return max(0, int(moment.timestamp()) * 1_000_000).to_bytes(8) if moment else _NEVER


class Batch:
    """Collects rows; two about one object are joined here, not in the database."""

    def __init__(self, *, keep_emails: bool = True) -> None:
        self.keep_emails = keep_emails
        self.identities: dict[tuple[Value, ...], int] = {}
        """What has been said of somebody -> the key; most of it is said again and again."""
        self.projects: dict[tuple[Value, ...], datetime] = {}
        """What has been said of a project -> when it was last."""
        self._found: dict[sa.Table, dict[Value, Row]] = {table: {} for table in _TABLES}

    def add(self, table: sa.Table, row: Row) -> None:
        """One more row, with all the table's columns."""
        key, found = _KEYS[table](row), self._found[table]
        known = found.get(key)
        found[key] = join(table, known, row) if known else row

    def rows(self) -> Rows:
        """All of them, always in the same order, so that two workers that write the same wait for each other once."""
        for said, last in self.projects.items():
            self.add(tables.project, _project(*said, last_event_at=last))
        return {table: [at[key] for key in sorted(at)] for table, at in self._found.items() if at}


class Telling:
    """One delivery, and the rows that it tells of. `project` is the key of the one where it happened."""

    def __init__(self, batch: Batch, envelope: Envelope, event: Event | None) -> None:
        self._batch = batch
        self._envelope = envelope
        self.received_at = datetime.fromtimestamp(envelope.received_at / 1000, UTC)
        self._hour = self.received_at.replace(minute=0, second=0, microsecond=0)
        gitlab_id = event.gitlab_project_id if event else None
        self.project = None if gitlab_id is None else keys.project(envelope.instance, gitlab_id)
        self._add_delivery(secret=event is not None and event.has_secrets)

    def add(self, table: sa.Table, it: object, order: bytes = b"", **said: Value) -> None:
        """A row of the project: what is said, and the rest as the object has it.

        `order` is the version of a table with a state; to it comes what makes it a different one for each state.
        """
        said["project"], said["version"] = self.project, order
        row = {name: said[name] if name in said else getattr(it, name) for name in _COLUMNS[table]}
        if order:
            row["version"] = order + _digest(tuple(row[name] for name in _STATES[table]))
        self._batch.add(table, row)

    def add_commit(self, rank: int, author: int, **said: Value) -> None:
        """What `add` does, in half the time: a commit is what is told of most."""
        version = _RANKS[rank] + _digest((author,))
        self._batch.add(tables.commit, {"project": self.project, **said, "author": author, "version": version})

    def add_project(
        self, gitlab_id: int, path: str | None, name: str | None, web_url: str | None, default_branch: str | None
    ) -> None:
        """The project itself. No event says when it was renamed, so the newest delivery is believed."""
        told = self.project, self._envelope.instance, gitlab_id, path, name, web_url, default_branch
        projects = self._batch.projects
        if told not in projects or projects[told] < self.received_at:
            projects[told] = self.received_at

    def account(
        self, gitlab_id: int | None, name: str | None = None, username: str | None = None, email: str | None = None
    ) -> int | None:
        """The identity of a GitLab account, None where it has no id. Like a project, it has no time of its own.

        The hour of receipt is enough, so that not every delivery writes it anew.
        """
        if gitlab_id is None:
            return None
        hour = self._hour if name or username else None
        said = self._envelope.instance, gitlab_id, name, email, username, hour
        return self._batch.identities.get(said) or self._account(said)

    def author(self, name: str | None, email: str | None) -> int:
        """The identity of a git author, which is what its name and e-mail are."""
        return self._batch.identities.get((name, email)) or self._author(name, email)

    def todo(self, kind: str, item: str) -> None:
        """Something that GitLab is to be asked about."""
        self.add(tables.todo, None, kind=kind, item=item, hook_id=self._envelope.hook_id, since=self.received_at)

    def _account(self, said: tuple[Value, ...]) -> int:
        instance, gitlab_id, name, email, username, hour = said
        handles = keys.handles(name, email, username, gitlab_id)
        name, email = self._private(name, email)
        known = (name is not None) + (username is not None)
        told = knowledge(known, hour if known else None) + _digest((name, username))
        key = keys.account(instance, gitlab_id)
        return self._identity(said, handles, key, instance, gitlab_id, name, email, username, told)

    def _author(self, *said: str | None) -> int:
        handles = keys.handles(said[0], said[1], None, None)
        name, email = self._private(*said)
        row = keys.author(name, email), None, None, name, email, None, knowledge(0, None) + _digest(())
        return self._identity(said, handles, *row)

    def _identity(self, said: tuple[Value, ...], handles: Mapping[str, str | None], key: int, *row: Value) -> int:
        whole = dict(zip(_IDENTITY, (key, *row), strict=True))
        whole |= handles if self._batch.keep_emails else {key: text and hidden(text) for key, text in handles.items()}
        self._batch.add(tables.identity, whole)
        self._batch.identities[said] = key
        return key

    def _private(self, name: str | None, email: str | None) -> tuple[str | None, str | None]:
        if self._batch.keep_emails:
            return name, email
        return name and hidden(name), email and pseudonym(email)

    def _add_delivery(self, *, secret: bool) -> None:
        envelope, body = self._envelope, self._envelope.body
        body = without_secrets(body) if secret else body
        row = {
            "received_at": self.received_at,
            "hook_id": envelope.hook_id,
            "delivery_id": envelope.delivery_id,
            "instance": envelope.instance,
            "event": envelope.event,
            "body": body if self._batch.keep_emails else without_emails(body),
        }
        self._batch.add(tables.delivery, row)


def join(table: sa.Table, one: Row, other: Row) -> Row:
    """Two rows about the same object as one; the order of the arguments does not matter."""
    if "version" in one:
        whole = max(one, other, key=lambda row: row["version"])
    else:
        whole = min(one, other, key=_first) if table is tables.push else one
    return {name: rule(one[name], other[name]) if rule else whole[name] for name, rule in _RULES[table]}


def _first(push: Row) -> tuple[Value, ...]:
    return push["received_at"], push["who"] is None, push["who"]


def _project(
    key: int, instance: str, gitlab_id: int, path: str | None, *more: str | None, last_event_at: datetime
) -> Row:
    """The row; `more` are name, web_url and default_branch."""
    known, state = 0 if path is None else 1 + (more[-1] is not None), (path, *more)
    version = knowledge(known, last_event_at if known else None) + _digest(state)
    return dict(zip(_COLUMNS[tables.project], (key, instance, gitlab_id, *state, last_event_at, version), strict=True))


@lru_cache(maxsize=10_000)  # mostly of a project, an account or an author, which are told of again and again
def _digest(state: tuple[object, ...]) -> bytes:
    # As a number a moment is the same in every zone.
    plain = [value.timestamp() if isinstance(value, datetime) else value for value in state]
    return hashlib.blake2b(msgspec.msgpack.encode(plain), digest_size=8).digest()


def _least(one: Value, other: Value) -> Value:
    return other if one is None else one if other is None else min(one, other)


def _greatest(one: Value, other: Value) -> Value:
    return other if one is None else one if other is None else max(one, other)


_NEVER = bytes(8)
_PYTHON: Mapping[Join, Callable[[Value, Value], Value] | None] = {
    Join.KEY: _least,
    Join.LEAST: _least,
    Join.GREATEST: _greatest,
    Join.FIRST: None,
    Join.STATE: None,
}
# Somebody may be in every project: whoever writes one locks the row until the end, so these come last.
_TABLES = sorted(tables.BASE, key=lambda table: table is tables.identity)
_KEYS: Mapping[sa.Table, Callable[[Row], Any]] = {
    table: operator.itemgetter(*(c.name for c in table.primary_key)) for table in _TABLES
}
_RULES = {table: tuple((c.name, _PYTHON[c.info["join"]]) for c in table.columns) for table in _TABLES}
_IDENTITY = ("id", "instance", "gitlab_id", "name", "email", "username", "version")
_COLUMNS = {table: tuple(table.c.keys()) for table in _TABLES}
_STATES = {
    table: tuple(c.name for c in table.columns if c.info["join"] is Join.STATE and c.name != "version")
    for table in tables.BASE
    if "version" in table.columns
}
_RANKS = tuple(knowledge(rank, None) for rank in range(3))
