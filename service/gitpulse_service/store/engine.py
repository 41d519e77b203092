"""How the database is reached, PostgreSQL or SQLite, and what its errors mean to us."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gitpulse_service.errors import StoreRefused, StoreUnavailable
from gitpulse_service.store.dialects import edge_before_in_sqlite

CONNECT_TIMEOUT = 5
"""Seconds to open a connection."""
STATEMENT_TIMEOUT = 20
"""Seconds for one statement. Shorter than the time after which another worker takes over a batch."""
POOL_SIZE = 8
"""Connections of one process; more drains than that take turns."""

_CONTENT = ("22", "23", "54")
"""SQLSTATE classes that speak of the rows and not of the server: data, integrity, program limits."""


def create_engine(url: str, *, keep_emails: bool = True) -> AsyncEngine:
    """An engine for `postgresql://…` or `sqlite:///file`; it connects when it is first used.

    Without `keep_emails` all that `write.apply` writes with it has pseudonyms in their place.
    """
    parsed, options = sa.make_url(url), {"gitpulse_keep_emails": keep_emails}
    if parsed.get_backend_name() == "postgresql":
        # `sslmode` and its like are understood by asyncpg in a DSN alone; SQLAlchemy would hand them on as arguments.
        tls = {name: value for name, value in parsed.query.items() if name.startswith("ssl") and name != "ssl"}
        return create_async_engine(
            parsed.set(drivername="postgresql+asyncpg").difference_update_query(tls),
            connect_args={
                "dsn": f"postgresql:///?{urlencode(tls)}" if tls else None,
                "timeout": CONNECT_TIMEOUT,
                "command_timeout": STATEMENT_TIMEOUT + 5,
                "server_settings": {
                    "application_name": "gitpulse",
                    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
                    "jit": "off",
                    "work_mem": "32MB",  # what sorts a year of a large company without a file
                },
            },
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=STATEMENT_TIMEOUT,
            execution_options=options,
            pool_pre_ping=True,  # a database that restarted costs a reconnect, not an error
        )
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"),
        connect_args={"timeout": STATEMENT_TIMEOUT},
        execution_options=options,
    )
    sa.event.listen(engine.sync_engine, "do_connect", _check_sqlite)
    sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


@contextlib.contextmanager
def store_errors(engine: AsyncEngine) -> Iterator[None]:
    """Turns what the database raises into `StoreRefused` (the content) or `StoreUnavailable` (all else).

    When in doubt it is the database's fault: then nothing is lost, and somebody is told.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        if _is_content(error):
            raise StoreRefused(_one_line(error.orig)) from error
        raise StoreUnavailable(f"{_name(engine)} does not do as asked: {_one_line(error.orig)}") from error
    except sa.exc.StatementError as error:  # a value that the driver cannot send
        raise StoreRefused(_one_line(error.orig)) from error
    except (OverflowError, UnicodeError) as error:  # likewise; the SQLite driver raises these bare
        raise StoreRefused(_one_line(error)) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, sa.exc.TimeoutError) as error:
        # asyncpg's own: raised bare while connecting, for example for a wrong password
        raise StoreUnavailable(f"{_name(engine)} cannot be reached: {_one_line(error)}") from error


@contextlib.asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to read with. Raises StoreUnavailable."""
    with store_errors(engine):
        async with engine.connect() as connection:
            yield connection


@contextlib.asynccontextmanager
async def writing(engine: AsyncEngine, **options: Any) -> AsyncIterator[AsyncConnection]:  # noqa: ANN401 -- SQLAlchemy's
    """One transaction: all that is written within or nothing. Raises StoreUnavailable, StoreRefused."""
    with store_errors(engine):
        async with engine.execution_options(gitpulse_writes=True, **options).begin() as connection:
            yield connection


def _is_content(error: sa.exc.DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _CONTENT
    driver = error.orig.__cause__ if error.orig and error.orig.__cause__ else error.orig
    if isinstance(driver, asyncpg.exceptions.ClientConfigurationError):  # a ValueError, of the URL
        return False
    return isinstance(driver, sqlite3.IntegrityError | sqlite3.DataError | ValueError)


def _check_sqlite(_: sa.Dialect, __: ConnectionPoolEntry, arguments: list[Any], ___: dict[str, Any]) -> None:
    # SQLite would say no more than that it is unable to, and aiosqlite leave a thread behind.
    if not (folder := Path(arguments[0]).resolve().parent).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")


def _prepare_sqlite(connection: sa.engine.interfaces.DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves: see below
    cursor = connection.cursor()
    # Readers and the writer do not wait for each other. The mode stays with the file; SQLite refuses to change it while
    # somebody else does just that, and then it is done.
    with contextlib.suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # safe against a crash of ours; power loss may cost the last commits
    cursor.close()
    connection.create_function("edge_before", 2, edge_before_in_sqlite, deterministic=True)


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads before it writes must take the lock at once, or SQLite may refuse it half-way.
    immediate = connection.get_execution_options().get("gitpulse_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _name(engine: AsyncEngine) -> str:
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return f"the database file {Path(url.database or '').resolve()}"
    return f"the database {url.database} on {url.host or url.query.get('host') or 'localhost'}"


def _one_line(error: BaseException | None) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
