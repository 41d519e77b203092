"""The first tables: raw deliveries, projects, pushes, commits, merge requests, issues, pipelines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
Bytes = sa.LargeBinary().with_variant(postgresql.BYTEA(), "postgresql")
Big = sa.BigInteger()
Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "delivery",
        sa.Column("hook_id", Text, primary_key=True),
        sa.Column("delivery_id", Text, primary_key=True),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("instance", Text),
        sa.Column("event", Text),
        sa.Column("body", Bytes),
        sa.Column("version", Bytes, nullable=False),
        sa.Index("delivery_received", "received_at"),
        comment="Raw deliveries, so that numbers can be recomputed; of one that came twice, the earlier",
    )
    op.create_table(
        "project",
        sa.Column("id", Big, primary_key=True, autoincrement=False),
        sa.Column("instance", Text, nullable=False),
        sa.Column("gitlab_id", Big, nullable=False),
        sa.Column("path", Text),
        sa.Column("name", Text),
        sa.Column("web_url", Text),
        sa.Column("last_event_at", Time, nullable=False),
        sa.Column("version", Bytes, nullable=False),
        sa.Index("project_gitlab", "gitlab_id"),
        sa.Index("project_path", "path"),
        comment="Projects as their newest event describes them; id is rows.project_key",
    )
    op.create_table(
        "push",
        sa.Column("project", Big, primary_key=True, autoincrement=False),
        sa.Column("ref", Text, primary_key=True),
        sa.Column("before", Text, primary_key=True),
        sa.Column("after", Text, primary_key=True),
        sa.Column("received_at", Time, nullable=False),
        sa.Index("push_received", "project", "received_at"),
        comment="Moves of a branch, once however many hooks told of it",
    )
    op.create_table(
        "commit",
        sa.Column("project", Big, primary_key=True, autoincrement=False),
        sa.Column("sha", Text, primary_key=True),
        sa.Column("committed_at", Time),
        sa.Column("utc_offset", sa.SmallInteger()),
        sa.Column("author_name", Text),
        sa.Column("author_email", Text),
        sa.Index("commit_committed", "project", "committed_at"),
        comment="Commits; utc_offset is the author's, in minutes; an author is NULL while only redacted ones came",
    )
    op.create_table(
        "merge_request",
        sa.Column("project", Big, primary_key=True, autoincrement=False),
        sa.Column("id", Big, primary_key=True, autoincrement=False),
        sa.Column("iid", Big),
        sa.Column("state", Text),
        sa.Column("created_at", Time),
        sa.Column("merged_at", Time),
        sa.Column("closed_at", Time),
        sa.Column("version", Bytes, nullable=False),
        sa.Index("merge_request_created", "project", "created_at"),
        sa.Index("merge_request_merged", "project", "merged_at"),
        sa.Index("merge_request_closed", "project", "closed_at"),
        comment="Merge requests by GitLab's global id; closed_at is the last close, true while state is closed",
    )
    op.create_table(
        "issue",
        sa.Column("project", Big, primary_key=True, autoincrement=False),
        sa.Column("id", Big, primary_key=True, autoincrement=False),
        sa.Column("iid", Big),
        sa.Column("state", Text),
        sa.Column("created_at", Time),
        sa.Column("closed_at", Time),
        sa.Column("version", Bytes, nullable=False),
        sa.Index("issue_created", "project", "created_at"),
        sa.Index("issue_closed", "project", "closed_at"),
        comment="Issues by GitLab's global id; closed_at is the last close, true while state is closed",
    )
    op.create_table(
        "pipeline",
        sa.Column("project", Big, primary_key=True, autoincrement=False),
        sa.Column("id", Big, primary_key=True, autoincrement=False),
        sa.Column("iid", Big),
        sa.Column("status", Text),
        sa.Column("created_at", Time),
        sa.Column("finished_at", Time),
        sa.Column("version", Bytes, nullable=False),
        sa.Index("pipeline_created", "project", "created_at"),
        comment="Pipelines by GitLab's global id",
    )
