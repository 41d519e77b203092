"""Reaching the database: migrations, several at once, and what is said when it is away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

import pytest
import sqlalchemy as sa

from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.store.engine import create_engine, store_errors
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.tables import metadata
from harness.processes import free_port

SCHEMA = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version' AND sql IS NOT NULL ORDER BY 1",
    "postgresql": """
        SELECT table_name || '.' || column_name, concat_ws(' ', data_type, collation_name, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        UNION ALL SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        UNION ALL SELECT relname, pg_get_partkeydef(oid) FROM pg_class WHERE relkind = 'p'
        UNION ALL SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition
        UNION ALL SELECT relname, obj_description(oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND relname <> 'alembic_version' ORDER BY 1
    """,
}


async def schema(engine):
    async with engine.connect() as connection:
        rows = await connection.execute(sa.text(SCHEMA[engine.dialect.name]))
        return sorted((name, re.sub(r"\s+", " ", text or "")) for name, text in rows)


async def test_the_migrations_make_the_tables_that_we_use(engine):
    migrated = await schema(engine)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    assert migrated == await schema(engine)
    assert len(migrated) > 10


async def test_several_workers_may_migrate_at_once(database_url):
    engines = [create_engine(database_url) for _ in range(4)]
    await asyncio.gather(*(migrate(engine) for engine in engines))
    assert "push_received" in dict(await schema(engines[0]))
    await asyncio.gather(*(engine.dispose() for engine in engines))


async def test_sqlite_lets_readers_and_the_writer_work_side_by_side(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    await migrate(engine)
    async with engine.execution_options(gitpulse_writes=True).begin() as writer:
        await writer.execute(sa.text("DELETE FROM push"))
        async with engine.connect() as reader:
            assert (await reader.execute(sa.text("SELECT count(*) FROM push"))).scalar_one() == 0
    await engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://me:hunter2@127.0.0.1:{port}/numbers", "the database numbers on 127.0.0.1 cannot be reached"),
        ("sqlite:///{folder}/absent/store.db", "there is no folder"),
        ("sqlite:///{folder}/not-a-database", "file is not a database"),
    ],
)
async def test_a_database_that_is_away_is_named_without_its_password(tmp_path, url, says):
    (tmp_path / "not-a-database").write_bytes(os.urandom(9000))
    engine = create_engine(url.format(port=free_port(), folder=tmp_path))
    with pytest.raises(StoreUnavailable) as caught:
        await migrate(engine)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await engine.dispose()


async def test_a_database_that_does_not_exist_is_unavailable(postgres):
    engine = create_engine(postgres.replace("/postgres?", "/absent?"))
    with pytest.raises(StoreUnavailable, match='database "absent" does not exist'):
        await migrate(engine)
    await engine.dispose()


async def test_tables_that_are_missing_are_the_databases_fault_and_not_the_events(database_url):
    engine = create_engine(database_url)
    with pytest.raises(StoreUnavailable), store_errors(engine):
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT * FROM push"))
    await engine.dispose()


SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


@contextlib.asynccontextmanager
async def without_tls():
    """A database that declines TLS and hangs up when it is greeted without; yields its port, and what it was asked."""
    asked, talks = [], []

    async def answer(reader, writer):
        talks.append(asyncio.current_task())
        while len(begin := await reader.read(8)) == 8:
            asked.append("TLS" if begin == SSL_REQUEST else "plain")
            if asked[-1] == "plain":
                break
            writer.write(b"N")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked
        await asyncio.gather(*talks)


@pytest.mark.parametrize(
    ("query", "variable", "asked", "says"),
    [
        ("", None, ["TLS", "plain"], "connection was closed"),
        ("?sslmode=disable", None, ["plain"], "connection was closed"),
        ("?sslmode=require", None, ["TLS"], "rejected SSL upgrade"),
        ("?ssl=require", None, ["TLS"], "rejected SSL upgrade"),
        ("", "require", ["TLS"], "rejected SSL upgrade"),
        ("?sslmode=verify-full&sslrootcert=/absent/ca.crt", None, [], "No such file"),
        ("?sslmode=sometimes", None, [], "`sslmode` parameter must be one of"),
    ],
)
async def test_tls_is_used_if_it_is_there_and_insisted_on_if_asked(monkeypatch, query, variable, asked, says):
    if variable:
        monkeypatch.setenv("PGSSLMODE", variable)
    async with without_tls() as (port, seen):
        engine = create_engine(f"postgresql://me:hunter2@127.0.0.1:{port}/numbers{query}")
        with pytest.raises(StoreUnavailable, match=re.escape(says)):
            await migrate(engine)
        await engine.dispose()
    assert seen == asked
