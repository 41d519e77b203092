"""Sessions of whoever has signed in to the dashboard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BYTES = sa.LargeBinary().with_variant(postgresql.BYTEA(), "postgresql")
TIME = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "session",
        sa.Column("hash", BYTES, primary_key=True),
        *(sa.Column(name, TEXT, nullable=name == "email") for name in ("issuer", "account", "username", "email")),
        sa.Column("groups", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=False),
        comment="Who is signed in, by the SHA-256 of their session's id; groups is a JSON list of those that see all",
    )
