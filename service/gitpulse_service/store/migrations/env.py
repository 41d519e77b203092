"""Alembic's entry: runs the migrations on the connection that `store.migrate` hands in, inside its transaction."""

from __future__ import annotations

from alembic import context

import gitpulse_service.store.roster  # noqa: F401 -- has tables in the same metadata
from gitpulse_service.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
