"""Any order, duplication, delay and batching of a history gives the same tables, and the true numbers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from gitpulse_service.events.decode import decode
from gitpulse_service.store import keys, queries, tables
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.spans import Span
from gitpulse_service.store.tables import metadata
from gitpulse_service.store.write import apply
from harness.dumps import dump, wipe
from harness.histories import START, History

ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


async def write(engine, envelopes, sizes):
    left = list(envelopes)
    while left:
        batch, left = left[: (size := sizes())], left[size:]
        await apply(engine, [(envelope, decode(envelope)) for envelope in batch])


NUMBERS = {
    "pushes": "pushes",
    "opened": "merge_requests_opened",
    "merged": "merge_requests_merged",
    "closed": "merge_requests_closed",
    "issues_opened": "issues_opened",
    "issues_closed": "issues_closed",
}


async def numbers(engine, project, span):
    """What `Project.truth` tells, by the questions that the query API asks."""
    of = {"projects": [keys.project(project.instance, project.id)]}
    between = Span(*span)
    counted = await queries.totals(engine, NUMBERS.values(), between, **of)
    authors = await queries.series(engine, "commits", between, group="person", **of)
    statuses = await queries.series(engine, "pipelines", between, group="label", **of)
    return {
        **{name: counted[metric].count for name, metric in NUMBERS.items()},
        "authors": {point.group: point.count for point in authors},
        "pipelines": {point.group: point.count for point in statuses},
    }


async def objects(engine, project):
    """What `Project.objects` tells, from the tables."""
    async with engine.connect() as connection:

        async def of(table, *names):
            c = tables.metadata.tables[table].c
            key = keys.project(project.instance, project.id)
            return (await connection.execute(sa.select(*(c[n] for n in names)).where(c.project == key))).all()

        accounts = {keys.account(project.instance, n): n for n in (1, 2, 3)}
        return {
            "reviews": {(mr, accounts[who]): at for mr, who, at in await of("review", "merge_request", "who", "at")},
            "reopenings": {tuple(row) for row in await of("reopening", "issue", "reopened_at")},
            "labels": {issue: json.loads(labels) for issue, labels in await of("issue", "id", "labels")},
            "jobs": {job: tuple(rest) for job, *rest in await of("job", "id", "status", "finished_at", "duration")},
            "pipelines": {one: tuple(rest) for one, *rest in await of("pipeline", "id", "status", "finished_at")},
            "deployments": {one: tuple(rest) for one, *rest in await of("deployment", "id", "status", "succeeded_at")},
            "releases": {
                (tag, made): (released, gone == 1)
                for tag, made, released, gone in await of("release", "tag", "created_at", "released_at", "deleted")
            },
        }


def but_receipt(dumped):
    """A dump without what tells of receipts; a project, an account and a release are as last received.

    And some approvals were when they were received.
    """
    said = {}
    for table in metadata.sorted_tables:
        of_receipt = {"received_at", "seen_at", "last_event_at"}
        of_receipt |= {"version"} if table.name in ("project", "identity", "release") else set()
        of_receipt |= {"at"} if table.name == "review" else set()
        if table.name not in ("delivery", "todo"):
            said[table.name] = [
                tuple(value for column, value in zip(table.c, row, strict=True) if column.name not in of_receipt)
                for row in dumped[table.name]
            ]
    return said


async def check(url, seed, steps):
    random = Random(seed)
    engine = create_engine(url)
    try:
        await migrate(engine)
        history = History(random, steps)
        await write(engine, history.deliveries, lambda: 1000)
        in_order = await dump(engine)
        await wipe(engine)
        await write(engine, history.accidents(), lambda: random.choice([1, 2, 7, 30]))
        assert await dump(engine) == in_order
        length = int((history.now - START).total_seconds())
        moments = [START + timedelta(seconds=random.randint(-90_000, 5000 + length)) for _ in range(4)]
        moments += [START + timedelta(seconds=random.randint(0, length)) for _ in range(12)]
        spans = [ALWAYS, *(tuple(sorted(moments[i : i + 2])) for i in range(0, len(moments), 2))]
        for project in history.projects:
            assert await objects(engine, project) == project.objects()
            for span in spans:
                assert await numbers(engine, project, span) == project.truth(*span)
        await wipe(engine)
        await write(engine, history.delayed(), lambda: 50)
        assert but_receipt(await dump(engine)) == but_receipt(in_order)
        await wipe(engine)
    finally:
        await engine.dispose()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_on_sqlite(tmp_path_factory, seed, steps):
    asyncio.run(check(f"sqlite:///{tmp_path_factory.mktemp('order')}/store.db", seed, steps))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_on_postgresql(postgres_url, seed, steps):
    asyncio.run(check(postgres_url, seed, steps))


@pytest.mark.parametrize("seed", range(3))
def test_a_long_history(tmp_path, seed):
    asyncio.run(check(f"sqlite:///{tmp_path}/store.db", seed, 400))
