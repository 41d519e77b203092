"""What is older than its time goes, and nothing else does; in PostgreSQL raw deliveries go by the day."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
import sqlalchemy as sa

from gitpulse_service.events.decode import decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.settings import Forgotten
from gitpulse_service.store import retention, rollups, tables
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.queries import series
from gitpulse_service.store.spans import Span
from gitpulse_service.store.write import apply
from harness.company import commit, insert
from harness.dumps import count
from harness.samples import FOLDER, body, envelope as of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAYS = timedelta(days=30)


def envelope(number: int, age: timedelta) -> Envelope:
    received = int((NOW - age).timestamp() * 1000)
    return Envelope("hook", f"delivery-{number}", "Push Hook", "https://gitlab.example.com", 1, received, b"{}")


async def kept(engine, table="delivery"):
    names = sa.select(sa.column("delivery_id")).select_from(sa.table(table)).order_by(sa.column("received_at").desc())
    async with engine.connect() as connection:
        return [int(name.removeprefix("delivery-")) for name in (await connection.execute(names)).scalars()]


async def partitions(engine):
    async with engine.connect() as connection:
        found = await connection.execute(sa.text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"))
        return sorted(found.scalars())


async def test_only_what_is_older_is_forgotten_however_much_it_is(engine, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 7)
    old = [envelope(number, timedelta(days=31)) for number in range(20)]
    young = [envelope(number, timedelta(days=29)) for number in range(20, 23)]
    await apply(engine, [(one, None) for one in old + young])
    assert await retention.retire(engine, NOW, {"delivery": DAYS}) == {"delivery": 20}
    assert sorted(await kept(engine)) == [20, 21, 22]
    assert await retention.retire(engine, NOW, {"delivery": DAYS}) == {"delivery": 0}


async def test_what_is_forgotten_is_in_no_roll_up(engine):
    commits = [commit(str(days), committed_at=NOW - timedelta(days=days)) for days in (5, 50)]
    await insert(engine, {tables.commit: commits})
    await rollups.roll(engine, NOW)
    assert await retention.retire(engine, NOW, {"commit": DAYS}) == {"commit": 1}
    assert [p.count for p in await series(engine, "commits", Span())] == [1]


@pytest.fixture
async def postgresql(postgres_url):
    engine = create_engine(postgres_url)
    await migrate(engine)
    yield engine
    await engine.dispose()


async def test_postgresql_has_a_partition_a_day_and_drops_it_whole(postgresql):
    first = NOW - timedelta(days=40)
    await retention.make_days(postgresql, first)
    await apply(postgresql, [(envelope(age, timedelta(days=age)), None) for age in (31, 33, 35, 40)])
    assert await kept(postgresql, "delivery_rest") == [31]  # none was there to make its day
    assert await kept(postgresql, "delivery_20260127") == [33]
    await retention.retire(postgresql, NOW, {"delivery": timedelta(days=33)})
    assert await kept(postgresql) == [31, 33]  # of its day not all is too old yet
    made = [f"delivery_202603{day:02}" for day in range(1, 9)]
    assert await partitions(postgresql) == ["delivery_20260127", *made, "delivery_rest"]
    await apply(postgresql, [(envelope(0, timedelta()), None)])
    assert await kept(postgresql, "delivery_20260301") == [0]


async def test_a_day_that_has_begun_in_the_rest_stays_there(postgresql):
    await apply(postgresql, [(envelope(0, timedelta(hours=1)), None)])
    await retention.make_days(postgresql, NOW)
    assert "delivery_20260301" not in await partitions(postgresql)
    assert "delivery_20260302" in await partitions(postgresql)
    await retention.retire(postgresql, NOW + DAYS, {"delivery": DAYS})
    assert await count(postgresql, "delivery") == 0


async def test_each_table_forgets_by_itself(engine):
    """All samples are of January 2026 or before."""
    names = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.json"))
    envelopes = [of(body(name), delivery_id=name) for name in names]
    await apply(engine, [(one, decode(one)) for one in envelopes])
    left = {table: await count(engine, table) for table in tables.metadata.tables}
    for table in get_args(Forgotten):
        assert await retention.retire(engine, NOW, {table: timedelta(days=10_000)}) == {table: 0}
        forgotten = await retention.retire(engine, NOW, {table: timedelta(days=1)})
        assert forgotten[table] > 0
        left[table] -= forgotten[table]
        assert {table: await count(engine, table) for table in left} == left
