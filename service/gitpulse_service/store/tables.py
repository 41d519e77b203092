"""The tables, and for each column how two things said about the same object become one.

Deliveries arrive twice, late and in any order, so nothing here depends on which came first: every column is joined by a
rule that is commutative, associative and idempotent. `rows` applies the rules within a batch, `write` in the database.

No foreign keys: a project's key is a hash of what identifies it, so that a row can be written before its project is
known, and a check of every row would cost as much as the row.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class Join(enum.Enum):
    """How a column's two values become one. Unknown (NULL) gives way to anything known."""

    KEY = "key"
    """The same by definition."""
    LEAST = "least"
    """The smaller one: the first time, or, of two that should be equal, always the same one."""
    GREATEST = "greatest"
    """The larger one: the last time."""
    FIRST = "first"
    """From the row with the smaller `received_at`."""
    STATE = "state"
    """All columns of this kind together, from the row with the greater `version`."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """`timestamptz`; in SQLite, which has no such type, milliseconds since 1970. Aware in Python either way."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """An integer is a quarter of the text that SQLAlchemy would keep, and sorts and subtracts as it is."""
        return dialect.type_descriptor(sa.BigInteger() if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:  # noqa: ANN401 -- as the type is
        """To the database."""
        return value if value is None or dialect.name != "sqlite" else (value - _EPOCH) // _MILLISECOND

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ANN401
        """From the database, in UTC."""
        found: datetime | None = value
        return found if value is None or dialect.name != "sqlite" else _EPOCH + value * _MILLISECOND


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


def _who() -> sa.Column[Any]:
    """The `identity` of whoever did it."""
    return _joined(Join.LEAST, "who", Big)


delivery = sa.Table(
    "delivery",
    metadata,
    _key("received_at", UtcDateTime()),
    _key("hook_id", Text),
    _key("delivery_id", Text),
    _joined(Join.LEAST, "instance", Text),
    _joined(Join.LEAST, "event", Text),
    _joined(Join.LEAST, "body", Bytes),
    comment="Raw deliveries, so that numbers can be recomputed; in PostgreSQL partitioned by day",
    postgresql_partition_by="RANGE (received_at)",
)
_rest = sa.DDL("CREATE TABLE delivery_rest PARTITION OF delivery DEFAULT")  # type: ignore[no-untyped-call]
sa.event.listen(delivery, "after_create", _rest.execute_if(dialect="postgresql"))

project = sa.Table(
    "project",
    metadata,
    _key("id", Big),
    _joined(Join.LEAST, "instance", Text, null=False),
    _joined(Join.LEAST, "gitlab_id", Big, null=False),
    _state("path", Text),
    _state("name", Text),
    _state("web_url", Text),
    _state("default_branch", Text),
    _joined(Join.GREATEST, "last_event_at", UtcDateTime(), null=False),
    _version(),
    sa.Index("project_gitlab", "gitlab_id"),
    sa.Index("project_path", "path"),
    comment="Projects as their newest event describes them; id is keys.project",
)

# Somebody is called as the newest delivery says, by the hour, of those that say most: no event tells of a renaming. An
# e-mail that is known stays when later ones are redacted. '' is less than any, so that it ends, together with the
# greatest version, whoever is to be forgotten: nothing that comes later brings a name or an e-mail back.
identity = sa.Table(
    "identity",
    metadata,
    _key("id", Big),
    _joined(Join.LEAST, "instance", Text),
    _joined(Join.LEAST, "gitlab_id", Big),
    _state("name", Text),
    _joined(Join.LEAST, "email", Text),
    _state("username", Text),
    _state("name_key", Text),
    _joined(Join.LEAST, "email_key", Text),
    _state("username_key", Text),
    _joined(Join.LEAST, "account_key", Text),
    _version(),
    comment="Under what name somebody appears: a git author (name and e-mail), or a GitLab account; see keys.handles",
)

push = sa.Table(
    "push",
    metadata,
    _key("project", Big),
    _key("ref", Text),
    _key("before", Text),
    _key("after", Text),
    _joined(Join.LEAST, "received_at", UtcDateTime(), null=False),
    _joined(Join.FIRST, "who", Big),
    _joined(Join.GREATEST, "forced", sa.SmallInteger()),
    sa.Index("push_received", "project", "received_at"),
    sa.Index("push_who", "who", "received_at"),
    comment="Moves of a branch or tag, once however many hooks told of it; forced is 1 or 0, NULL while not known",
)

_DOUBTFUL = sa.text("lost_at IS NOT NULL AND seen_at > lost_at")
commit = sa.Table(
    "commit",
    metadata,
    _key("project", Big),
    _key("sha", Text),
    _joined(Join.LEAST, "committed_at", UtcDateTime()),
    _joined(Join.LEAST, "utc_offset", sa.SmallInteger()),
    _state("author", Big),
    _joined(Join.LEAST, "added", sa.Integer()),
    _joined(Join.LEAST, "modified", sa.Integer()),
    _joined(Join.LEAST, "removed", sa.Integer()),
    _joined(Join.GREATEST, "seen_at", UtcDateTime(), null=False),
    _joined(Join.GREATEST, "lost_at", UtcDateTime()),
    _version(),
    sa.Index("commit_committed", "project", "committed_at"),
    sa.Index("commit_doubtful", "project", postgresql_where=_DOUBTFUL, sqlite_where=_DOUBTFUL),
    sa.Index("commit_author", "author", "committed_at"),
    comment="Commits; utc_offset in minutes; seen_at: last told of as being there, lost_at: last found in no ref",
)

merge_request = sa.Table(
    "merge_request",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "iid", Big),
    _joined(Join.LEAST, "author", Big),
    _state("state", Text),
    _state("source_branch", Text),
    _state("target_branch", Text),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _joined(Join.LEAST, "merged_at", UtcDateTime()),
    _joined(Join.GREATEST, "closed_at", UtcDateTime()),
    _joined(Join.LEAST, "deployed_at", UtcDateTime()),
    _version(),
    sa.Index("merge_request_author", "author"),
    sa.Index("merge_request_created", "project", "created_at"),
    sa.Index("merge_request_merged", "project", "merged_at"),
    sa.Index("merge_request_closed", "project", "closed_at"),
    sa.Index("merge_request_deployed", "project", "deployed_at"),
    comment="Merge requests by GitLab's global id; closed_at: the last close, while closed; deployed_at: in production",
)

review = sa.Table(
    "review",
    metadata,
    _key("project", Big),
    _key("merge_request", Big),
    _key("who", Big),
    _joined(Join.LEAST, "at", UtcDateTime(), null=False),
    sa.Index("review_at", "project", "at"),
    sa.Index("review_who", "who", "at"),
    comment="When somebody first wrote on a merge request, or approved it; of an approval at first as it was received",
)

issue = sa.Table(
    "issue",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "iid", Big),
    _joined(Join.LEAST, "author", Big),
    _state("type", Text),
    _state("state", Text),
    _state("labels", Text),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _joined(Join.GREATEST, "closed_at", UtcDateTime()),
    _version(),
    sa.Index("issue_author", "author"),
    sa.Index("issue_created", "project", "created_at"),
    sa.Index("issue_closed", "project", "closed_at"),
    comment="Issues and other work items by GitLab's global id; labels is a JSON list of titles, sorted",
)

reopening = sa.Table(
    "reopening",
    metadata,
    _key("project", Big),
    _key("issue", Big),
    _key("reopened_at", UtcDateTime()),
    _who(),
    comment="Each time that a closed issue was opened again",
)

pipeline = sa.Table(
    "pipeline",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "iid", Big),
    _joined(Join.LEAST, "ref", Text),
    _who(),
    _state("status", Text),
    _state("finished_at", UtcDateTime()),
    _state("duration", sa.Integer()),
    _state("queued_duration", sa.Integer()),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _version(),
    sa.Index("pipeline_created", "project", "created_at"),
    sa.Index("pipeline_who", "who", "created_at"),
    sa.Index("pipeline_finished", "project", "finished_at", "duration", "queued_duration"),
    sa.Index("pipeline_ref", "project", "ref", "status", "finished_at", "id", "who"),
    sa.Index("pipeline_done_by", "who", "finished_at", "duration", "queued_duration"),
    comment="Pipelines by GitLab's global id; durations in seconds",
)

job = sa.Table(
    "job",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "pipeline", Big),
    _joined(Join.LEAST, "stage", Text),
    _joined(Join.LEAST, "name", Text),
    _who(),
    _state("status", Text),
    _state("finished_at", UtcDateTime()),
    _state("duration", sa.Integer()),
    _state("queued_duration", sa.Integer()),
    _joined(Join.LEAST, "created_at", UtcDateTime()),
    _version(),
    sa.Index("job_created", "project", "created_at"),
    sa.Index("job_who", "who", "created_at"),
    sa.Index("job_finished", "project", "finished_at", "duration", "queued_duration"),
    sa.Index("job_done_by", "who", "finished_at", "duration", "queued_duration"),
    comment="Jobs by GitLab's global id, each retry its own; durations in whole seconds, rounded down",
)

deployment = sa.Table(
    "deployment",
    metadata,
    _key("project", Big),
    _key("id", Big),
    _joined(Join.LEAST, "environment", Text),
    _state("tier", Text),
    _who(),
    _state("status", Text),
    _joined(Join.LEAST, "succeeded_at", UtcDateTime()),
    _version(),
    sa.Index("deployment_succeeded", "project", "succeeded_at"),
    comment="Deployments by GitLab's global id; tier as production, staging, …",
)

release = sa.Table(
    "release",
    metadata,
    _key("project", Big),
    _key("tag", Text),
    _key("created_at", UtcDateTime()),
    _state("name", Text),
    _state("released_at", UtcDateTime()),
    _joined(Join.GREATEST, "deleted", sa.SmallInteger()),
    _version(),
    sa.Index("release_released", "project", "released_at"),
    comment="Releases; one that is made again for the same tag is another; deleted is 1 or NULL",
)

todo = sa.Table(
    "todo",
    metadata,
    _key("project", Big),
    _key("kind", Text),
    _key("item", Text),
    _joined(Join.LEAST, "hook_id", Text, null=False),
    _joined(Join.GREATEST, "since", UtcDateTime(), null=False),
    sa.Index("todo_since", "since"),
    comment="What GitLab is to be asked about, because its deliveries do not tell; a row goes when it is answered",
)

BASE = tuple(metadata.tables.values())
"""What deliveries say; other modules have tables of their own in `metadata`."""
