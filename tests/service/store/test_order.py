"""Any order, duplication, delay and batching of a history gives the same tables, and the true numbers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from gitpulse_service.events.decode import decode
from gitpulse_service.store import queries
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.rows import project_key
from gitpulse_service.store.write import apply
from harness.dumps import dump, wipe
from harness.histories import START, History

ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


async def write(engine, envelopes, sizes):
    left = list(envelopes)
    while left:
        batch, left = left[: (size := sizes())], left[size:]
        await apply(engine, [(envelope, decode(envelope)) for envelope in batch])


async def numbers(engine, project, span):
    counted = await queries.summary(engine, project_key(project.instance, project.id), queries.Span(*span))
    return {
        "pushes": counted.pushes,
        "authors": {(a.name, a.email): a.commits for a in counted.authors},
        "opened": counted.merge_requests_opened,
        "merged": counted.merge_requests_merged,
        "closed": counted.merge_requests_closed,
        "issues_opened": counted.issues_opened,
        "issues_closed": counted.issues_closed,
        "pipelines": counted.pipelines_by_status,
    }


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
            for span in spans:
                assert await numbers(engine, project, span) == project.truth(*span)
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
