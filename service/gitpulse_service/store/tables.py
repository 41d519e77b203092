"""The tables, and for each column how two things said about the same object become one.

Deliveries arrive twice, late and in any order, so nothing here depends on which came first: every column is joined by a
rule that is commutative, associative and idempotent. `rows` applies the rules within a batch, `write` in the database.

No foreign keys: a project's key is a hash of what identifies it, so that a row can be written before its project is
known, and a check of every row would cost as much as the row.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql


class Join(enum.Enum):
    """How a column's two values become one. Unknown (NULL) gives way to anything known."""

    KEY = "key"
    """The same by definition."""
    LEAST = "least"
    """The smaller one: the first time, or, of two that should be equal, always the same one."""
    GREATEST = "greatest"
    """The larger one: the last time."""
    STATE = "state"
    """All columns of this kind together, from the row with the greater `version`."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """`timestamptz`; in SQLite, which has no such type, a text in UTC. Aware in Python either way."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To the database, in UTC."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """From the database, in UTC."""
        return value if value is None else value.replace(tzinfo=value.tzinfo or UTC)


Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared by code point, as SQLite and Python do, so that `LEAST` means the same everywhere."""
Bytes = sa.LargeBinary().with_variant(postgresql.BYTEA(), "postgresql")
Big = sa.BigInteger()
Kind: TypeAlias = sa.types.TypeEngine[Any]

metadata = sa.MetaData()


def _key(name: str, kind: Kind) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False, info={"join": Join.KEY})


def _joined(join: Join, name: str, kind: Kind, *, null: bool = True) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null, info={"join": join})


def _state(name: str, kind: Kind) -> sa.Column[Any]:
    return _joined(Join.STATE, name, kind)


def _version() -> sa.Column[Any]:
    """What decides which row's state is the newer: see `rows.version`. Compared bytewise."""
    return _joined(Join.STATE, "version", Bytes, null=False)


delivery = sa.Table(
    "delivery",
    metadata,
    _key("hook_id", Text),
    _key("delivery_id", Text),
    _joined(Join.STATE, "received_at", UtcDateTime(), null=False),
    _state("instance", Text),
    _state("event", Text),
    _state("body", Bytes),
    _version(),
    sa.Index("delivery_received", "received_at"),
    comment="Raw deliveries, so that numbers can be recomputed; of one that came twice, the earlier",
)

project = sa.Table(
    "project",
    metadata,
    _key("id", Big),
    _joined(Join.LEAST, "instance", Text, null=False),
    _joined(Join.LEAST, "gitlab_id", Big, null=False),
    _state("path", Text),
    _state("name", Text),
    _state("web_url", Text),
    _joined(Join.GREATEST, "last_event_at", UtcDateTime(), null=False),
    _version(),
    sa.Index("project_gitlab", "gitlab_id"),
    sa.Index("project_path", "path"),
    comment="Projects as their newest event describes them; id is rows.project_key",
)

push = sa.Table(
    "push",
    metadata,
    _key("project", Big),
    _key("ref", Text),
    _key("before", Text),
    _key("after", Text),
    _joined(Join.LEAST, "received_at", UtcDateTime(), null=False),
    sa.Index("push_received", "project", "received_at"),
    comment="Moves of a branch, once however many hooks told of it",
)

commit = sa.Table(
    "commit",
    metadata,
    _key("project", Big),
    _key("sha", Text),
    _joined(Join.LEAST, "committed_at", UtcDateTime()),
    _joined(Join.LEAST, "utc_offset", sa.SmallInteger()),
    _joined(Join.LEAST, "author_name", Text),
    _joined(Join.LEAST, "author_email", Text),
    sa.Index("commit_committed", "project", "committed_at"),
    comment="Commits; utc_offset is the author's, in minutes; an author is NULL while only redacted ones came",
)

merge_request = sa.Table(
    "merge_request",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "iid", Big),
    _state("state", Text),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _joined(Join.LEAST, "merged_at", UtcDateTime()),
    _joined(Join.GREATEST, "closed_at", UtcDateTime()),
    _version(),
    sa.Index("merge_request_created", "project", "created_at"),
    sa.Index("merge_request_merged", "project", "merged_at"),
    sa.Index("merge_request_closed", "project", "closed_at"),
    comment="Merge requests by GitLab's global id; closed_at is the last close, true while state is closed",
)

issue = sa.Table(
    "issue",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "iid", Big),
    _state("state", Text),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _joined(Join.GREATEST, "closed_at", UtcDateTime()),
    _version(),
    sa.Index("issue_created", "project", "created_at"),
    sa.Index("issue_closed", "project", "closed_at"),
    comment="Issues by GitLab's global id; closed_at is the last close, true while state is closed",
)

pipeline = sa.Table(
    "pipeline",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "iid", Big),
    _state("status", Text),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _joined(Join.GREATEST, "finished_at", UtcDateTime()),  # the last end; a list of pipelines does not tell it
    _version(),
    sa.Index("pipeline_created", "project", "created_at"),
    comment="Pipelines by GitLab's global id",
)
