"""Alembic's entry: runs the migrations on the connection that `store.migrate` hands in, inside its transaction."""

from __future__ import annotations

from alembic import context

from gitpulse_service.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
