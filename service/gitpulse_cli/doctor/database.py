"""The database: can it be reached, and has it the tables of this version? Nothing is created."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Seen, fine, passed, wrong
from gitpulse_cli.doctor.patient import Patient
from gitpulse_service.errors import ServiceError

if TYPE_CHECKING:
    from sqlalchemy import Connection


async def look(patient: Patient, _: Subject) -> AsyncIterator[Seen]:
    """Asks for the revision that its tables have."""
    url = patient.service.database_url
    if url is None:
        yield passed("not checked: GITPULSE_DATABASE_URL is not set here")
        return
    import sqlalchemy as sa

    from gitpulse_service.store.engine import create_engine, reading

    engine = create_engine(url)
    try:
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        if file and not Path(file).is_file():  # noqa: ASYNC240 - once; and a connection would create it
            yield wrong(causes.DATABASE_OLD, f"there is no file {file} yet")
            return
        async with reading(engine) as connection:
            await connection.execute(sa.select(1))
            yield _judge(*await connection.run_sync(_revisions))
    except ServiceError as error:
        yield wrong(causes.DATABASE_UNREACHABLE, str(error))
    finally:
        await engine.dispose()


def _revisions(connection: Connection) -> tuple[str | None, list[str]]:
    """What it has, and all that this version knows, the newest first."""
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "gitpulse_service.store:migrations")
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    return MigrationContext.configure(connection).get_current_revision(), known


def _judge(current: str | None, known: list[str]) -> Seen:
    if current == known[0]:
        return fine(f"it has the tables of this version ({current})")
    if current is None or current in known:
        return wrong(causes.DATABASE_OLD, f"it is at {current or 'nothing'}, and this version at {known[0]}")
    return wrong(causes.DATABASE_NEWER, f"it is at {current}, of which this version ({known[0]}) knows nothing")


DATABASE = Check("database", lambda _: [Subject()], look)
