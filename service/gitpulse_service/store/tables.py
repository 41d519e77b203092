"""The tables, and for each column how two things said about the same object become one.

Deliveries arrive twice, late and in any order, so nothing here depends on which came first: every column is joined by a
rule that is commutative, associative and idempotent. `rows` applies the rules within a batch, `write` in the database.

No foreign keys: a project's key is a hash of what identifies it, so that a row can be written before its project is
known, and a check of every row would cost as much as the row.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from functools import partial
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


def _columns(join: Join, kind: Kind, names: str, *, null: bool = True) -> list[sa.Column[Any]]:
    """Of these names; `who` and `author` are the `identity` of whoever did it."""
    key = join is Join.KEY
    return [
        sa.Column(name, kind, primary_key=key, autoincrement=False, nullable=null and not key, info={"join": join})
        for name in names.split()
    ]


_keys, _least, _greatest, _state = (partial(_columns, it) for it in (Join.KEY, Join.LEAST, Join.GREATEST, Join.STATE))


def _version() -> list[sa.Column[Any]]:
    """What decides which row's state is the newer: see `rows.version`. Compared bytewise."""
    return _state(Bytes, "version", null=False)


delivery = sa.Table(
    "delivery",
    metadata,
    *_keys(UtcDateTime(), "received_at"),
    *_keys(Text, "hook_id delivery_id"),
    *_least(Text, "instance event"),
    *_least(Bytes, "body"),
    comment="Raw deliveries, so that numbers can be recomputed; in PostgreSQL partitioned by day",
    postgresql_partition_by="RANGE (received_at)",
)
_rest = sa.DDL("CREATE TABLE delivery_rest PARTITION OF delivery DEFAULT")  # type: ignore[no-untyped-call]
sa.event.listen(delivery, "after_create", _rest.execute_if(dialect="postgresql"))

project = sa.Table(
    "project",
    metadata,
    *_keys(Big, "id"),
    *_least(Text, "instance", null=False),
    *_least(Big, "gitlab_id", null=False),
    *_state(Text, "path name web_url default_branch"),
    *_greatest(UtcDateTime(), "last_event_at", null=False),
    *_version(),
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
    *_keys(Big, "id"),
    *_least(Text, "instance"),
    *_least(Big, "gitlab_id"),
    *_state(Text, "name"),
    *_least(Text, "email"),
    *_state(Text, "username name_key"),
    *_least(Text, "email_key"),
    *_state(Text, "username_key"),
    *_least(Text, "account_key"),
    *_version(),
    comment="Under what name somebody appears: a git author (name and e-mail), or a GitLab account; see keys.handles",
)

push = sa.Table(
    "push",
    metadata,
    *_keys(Big, "project"),
    *_keys(Text, "ref before after"),
    *_least(UtcDateTime(), "received_at", null=False),
    *_columns(Join.FIRST, Big, "who"),
    *_greatest(sa.SmallInteger(), "forced"),
    sa.Index("push_received", "project", "received_at"),
    sa.Index("push_who", "who", "received_at"),
    comment="Moves of a branch or tag, once however many hooks told of it; forced is 1 or 0, NULL while not known",
)

_DOUBTFUL = sa.text("lost_at IS NOT NULL AND seen_at > lost_at")
commit = sa.Table(
    "commit",
    metadata,
    *_keys(Big, "project"),
    *_keys(Text, "sha"),
    *_least(UtcDateTime(), "committed_at"),
    *_least(sa.SmallInteger(), "utc_offset"),
    *_state(Big, "author"),
    *_least(sa.Integer(), "added modified removed"),
    *_greatest(UtcDateTime(), "seen_at", null=False),
    *_greatest(UtcDateTime(), "lost_at"),
    *_version(),
    sa.Index("commit_committed", "project", "committed_at"),
    sa.Index("commit_doubtful", "project", postgresql_where=_DOUBTFUL, sqlite_where=_DOUBTFUL),
    sa.Index("commit_author", "author", "committed_at"),
    comment="Commits; utc_offset in minutes; seen_at: last told of as being there, lost_at: last found in no ref",
)

merge_request = sa.Table(
    "merge_request",
    metadata,
    *_keys(Big, "project id"),
    *_least(Big, "iid author"),
    *_state(Text, "state source_branch target_branch"),
    *_least(UtcDateTime(), "created_at merged_at"),
    *_greatest(UtcDateTime(), "closed_at"),
    *_least(UtcDateTime(), "deployed_at"),
    *_version(),
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
    *_keys(Big, "project merge_request who"),
    *_least(UtcDateTime(), "at", null=False),
    sa.Index("review_at", "project", "at"),
    sa.Index("review_who", "who", "at"),
    comment="When somebody first wrote on a merge request, or approved it; of an approval at first as it was received",
)

issue = sa.Table(
    "issue",
    metadata,
    *_keys(Big, "project id"),
    *_least(Big, "iid author"),
    *_state(Text, "type state labels"),
    *_least(UtcDateTime(), "created_at"),
    *_greatest(UtcDateTime(), "closed_at"),
    *_version(),
    sa.Index("issue_author", "author"),
    sa.Index("issue_created", "project", "created_at"),
    sa.Index("issue_closed", "project", "closed_at"),
    comment="Issues and other work items by GitLab's global id; labels is a JSON list of titles, sorted",
)

reopening = sa.Table(
    "reopening",
    metadata,
    *_keys(Big, "project issue"),
    *_keys(UtcDateTime(), "reopened_at"),
    *_least(Big, "who"),
    comment="Each time that a closed issue was opened again",
)

pipeline = sa.Table(
    "pipeline",
    metadata,
    *_keys(Big, "project id"),
    *_least(Big, "iid"),
    *_least(Text, "ref"),
    *_least(Big, "who"),
    *_state(Text, "status"),
    *_state(UtcDateTime(), "finished_at"),
    *_state(sa.Integer(), "duration queued_duration"),
    *_least(UtcDateTime(), "created_at"),
    *_version(),
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
    *_keys(Big, "project id"),
    *_least(Big, "pipeline"),
    *_least(Text, "stage name"),
    *_least(Big, "who"),
    *_state(Text, "status"),
    *_state(UtcDateTime(), "finished_at"),
    *_state(sa.Integer(), "duration queued_duration"),
    *_least(UtcDateTime(), "created_at"),
    *_version(),
    sa.Index("job_created", "project", "created_at"),
    sa.Index("job_who", "who", "created_at"),
    sa.Index("job_finished", "project", "finished_at", "duration", "queued_duration"),
    sa.Index("job_done_by", "who", "finished_at", "duration", "queued_duration"),
    comment="Jobs by GitLab's global id, each retry its own; durations in whole seconds, rounded down",
)

deployment = sa.Table(
    "deployment",
    metadata,
    *_keys(Big, "project id"),
    *_least(Text, "environment"),
    *_state(Text, "tier"),
    *_least(Big, "who"),
    *_state(Text, "status"),
    *_least(UtcDateTime(), "succeeded_at"),
    *_version(),
    sa.Index("deployment_succeeded", "project", "succeeded_at"),
    comment="Deployments by GitLab's global id; tier as production, staging, …",
)

release = sa.Table(
    "release",
    metadata,
    *_keys(Big, "project"),
    *_keys(Text, "tag"),
    *_keys(UtcDateTime(), "created_at"),
    *_state(Text, "name"),
    *_state(UtcDateTime(), "released_at"),
    *_greatest(sa.SmallInteger(), "deleted"),
    *_version(),
    sa.Index("release_released", "project", "released_at"),
    comment="Releases; one that is made again for the same tag is another; deleted is 1 or NULL",
)

todo = sa.Table(
    "todo",
    metadata,
    *_keys(Big, "project"),
    *_keys(Text, "kind item"),
    *_least(Text, "hook_id", null=False),
    *_greatest(UtcDateTime(), "since", null=False),
    sa.Index("todo_since", "since"),
    comment="What GitLab is to be asked about, because its deliveries do not tell; a row goes when it is answered",
)

BASE = tuple(metadata.tables.values())
"""What deliveries say; other modules have tables of their own in `metadata`."""
