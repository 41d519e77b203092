"""From decoded deliveries to the rows of one transaction: pure, and joined by the rules that the tables state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa

from gitpulse_service.events.decode import Event
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.issue import Issue
from gitpulse_service.events.merge_request import MergeRequest
from gitpulse_service.events.pipeline import Pipeline, without_variables
from gitpulse_service.events.project import Project
from gitpulse_service.events.push import Push
from gitpulse_service.store import tables
from gitpulse_service.store.tables import Join

Value: TypeAlias = Any
Row: TypeAlias = dict[str, Value]
Rows: TypeAlias = dict[sa.Table, list[Row]]
"""The rows of each table, sorted by key, at most one a key. Tables come in the order of `tables.metadata`."""

_MERGE_REQUEST_RANK = {"opened": 0, "closed": 1, "locked": 2, "merged": 3}
_ISSUE_RANK = {"opened": 0, "closed": 1}
_PIPELINE_STATUSES = (
    *("created", "waiting_for_resource", "preparing", "scheduled", "pending", "manual", "running"),
    *("canceling", "skipped", "canceled", "failed", "success"),
)
_PIPELINE_RANK = {status: rank for rank, status in enumerate(_PIPELINE_STATUSES)}


def project_key(instance: str, gitlab_id: int) -> int:
    """A project's key in our tables: the same whichever event comes first, and told apart between instances."""
    digest = hashlib.blake2b(f"{instance}\0{gitlab_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # 63 bits, what a signed column holds


def version(moment: datetime | None, rank: int, *state: object) -> bytes:
    """Orders what is said about one object: by its own time, then by how far its status is, then always the same way.

    8 bytes of microseconds since 1970, 1 of rank, 8 of digest, big-endian, so that bytes compare as the values do.
    """
    microseconds = int(moment.timestamp()) * 1_000_000 if moment else 0
    digest = hashlib.blake2b(msgspec.msgpack.encode(state), digest_size=8).digest()
    return max(0, microseconds).to_bytes(8) + rank.to_bytes(1) + digest


def rows_of(batch: Iterable[tuple[Envelope, Event | None]]) -> Rows:
    """What a batch says, once: two deliveries about one object are joined here, not in the database."""
    found: dict[sa.Table, dict[tuple[Value, ...], Row]] = {table: {} for table in tables.metadata.tables.values()}

    def add(table: sa.Table, row: Row) -> None:
        key = tuple(row[name] for name in _KEYS[table])
        known = found[table].get(key)
        found[table][key] = join(table, known, row) if known else row

    for envelope, event in batch:
        add(tables.delivery, _delivery(envelope, event))
        if event is not None:
            _add_event(add, envelope, event)
    # Always the same order, so that two workers that write the same rows wait for each other, not for ever.
    return {table: [at[key] for key in sorted(at)] for table, at in found.items() if at}


def join(table: sa.Table, one: Row, other: Row) -> Row:
    """Two rows about the same object as one; the order of the arguments does not matter."""
    newer = other if "version" in one and other["version"] > one["version"] else one
    return {name: rule(one[name], other[name]) if rule else newer[name] for name, rule in _RULES[table]}


def _add_event(add: Callable[[sa.Table, Row], None], envelope: Envelope, event: Event) -> None:
    gitlab_id = event.gitlab_project_id
    assert gitlab_id is not None  # decode refuses an event without
    key = project_key(envelope.instance, gitlab_id)
    add(tables.project, _project(key, gitlab_id, envelope, event.project))
    match event:
        case Push():
            for commit in _commits(key, event):
                add(tables.commit, commit)
            if not event.is_sample:
                add(tables.push, _push(key, envelope, event))
        case MergeRequest():
            add(tables.merge_request, _merge_request(key, event))
        case Issue():
            add(tables.issue, _issue(key, event))
        case Pipeline():
            add(tables.pipeline, _pipeline(key, event))


def _delivery(envelope: Envelope, event: Event | None) -> Row:
    body = envelope.body
    if isinstance(event, Pipeline) and event.object_attributes.variables:
        body = without_variables(body)
    earlier_is_greater = (2**63 - envelope.received_at).to_bytes(8)
    return {
        "hook_id": envelope.hook_id,
        "delivery_id": envelope.delivery_id,
        "received_at": _received(envelope),
        "instance": envelope.instance,
        "event": envelope.event,
        "body": body,
        "version": earlier_is_greater + hashlib.blake2b(body, digest_size=8).digest(),
    }


def _project(key: int, gitlab_id: int, envelope: Envelope, project: Project | None) -> Row:
    received = _received(envelope)
    said = (None, None, None) if project is None else (project.path_with_namespace, project.name, project.web_url)
    path, name, web_url = said
    return {
        "id": key,
        "instance": envelope.instance,
        "gitlab_id": gitlab_id,
        "path": path,
        "name": name,
        "web_url": web_url,
        "last_event_at": received,
        "version": version(received if path else None, 0, *said),
    }


def _push(key: int, envelope: Envelope, event: Push) -> Row:
    return {
        "project": key,
        "ref": event.ref or "",
        "before": event.before or "",
        "after": event.after or "",
        "received_at": _received(envelope),
    }


def _commits(key: int, event: Push) -> Iterable[Row]:
    for commit in event.commits or ():
        offset = commit.timestamp.utcoffset() if commit.timestamp else None
        yield {
            "project": key,
            "sha": commit.id,
            "committed_at": commit.timestamp,
            "utc_offset": None if offset is None else int(offset.total_seconds()) // 60,
            "author_name": commit.author_name,
            "author_email": commit.author_email,
        }


def _merge_request(key: int, event: MergeRequest) -> Row:
    it = event.object_attributes
    return {
        "project": key,
        "id": it.id,
        "iid": it.iid,
        "state": it.state,
        "created_at": it.created_at,
        "merged_at": event.merged_at,
        "closed_at": event.closed_at,
        "version": version(it.updated_at or it.created_at, _MERGE_REQUEST_RANK.get(it.state or "", 0), it.state),
    }


def _issue(key: int, event: Issue) -> Row:
    it = event.object_attributes
    return {
        "project": key,
        "id": it.id,
        "iid": it.iid,
        "state": it.state,
        "created_at": it.created_at,
        "closed_at": event.closed_at,
        "version": version(it.updated_at or it.created_at, _ISSUE_RANK.get(it.state or "", 0), it.state),
    }


def _pipeline(key: int, event: Pipeline) -> Row:
    it = event.object_attributes
    return {
        "project": key,
        "id": it.id,
        "iid": it.iid,
        "status": it.status,
        "created_at": it.created_at,
        "finished_at": it.finished_at,
        "version": version(event.updated_at, _PIPELINE_RANK.get(it.status or "", 0), it.status),
    }


def _received(envelope: Envelope) -> datetime:
    return datetime.fromtimestamp(envelope.received_at / 1000, UTC)


def _least(one: Value, other: Value) -> Value:
    return other if one is None else one if other is None else min(one, other)


def _greatest(one: Value, other: Value) -> Value:
    return other if one is None else one if other is None else max(one, other)


_PYTHON: Mapping[Join, Callable[[Value, Value], Value] | None] = {
    Join.KEY: _least,
    Join.LEAST: _least,
    Join.GREATEST: _greatest,
    Join.STATE: None,
}
_KEYS = {table: tuple(c.name for c in table.primary_key) for table in tables.metadata.tables.values()}
_RULES = {
    table: tuple((c.name, _PYTHON[c.info["join"]]) for c in table.columns) for table in tables.metadata.tables.values()
}
