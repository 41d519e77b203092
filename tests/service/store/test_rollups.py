"""Roll-ups change no answer: whatever is written in whatever order between two runs of the roller, and beside one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from gitpulse_service.store import rollups, tables
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.facts import METRICS
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.queries import Point, series, totals
from gitpulse_service.store.rows import join
from gitpulse_service.store.spans import Span, buckets
from gitpulse_service.store.write import put
from harness.company import ANN, BEN, BOT, CLEO, NAMES, TEAMS, commit, insert, push

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
OLD = NOW - 5 * DAY
ROLLED = [name for name, metric in METRICS.items() if metric.rolled]
ZONES = [ZoneInfo(it) for it in ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu")]
PEOPLE = (ANN, BEN, CLEO, BOT)


def full(table, row):
    return {c.name: {"project": 1, "version": b"1", **row}.get(c.name) for c in table.columns}


async def write(engine, table, *rows, connection=None):
    of_table = {table: [full(table, row) for row in rows]}
    if connection is not None:
        await put(connection, of_table)
        return
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        await put(connection, of_table)


class Model:
    """The same rows in Python, and the facts that docs/metrics.md makes of them."""

    def __init__(self, chance):
        self.chance = chance
        self.rows = defaultdict(dict)

    def moment(self):
        ago = self.chance.choice([self.chance.randrange(36 * 3600), self.chance.randrange(9 * 86400)])
        return NOW - timedelta(seconds=ago)

    def row(self):
        """A new thing, or more about one that may be known."""
        chance, moment = self.chance, self.moment()
        table = chance.choice([tables.push, tables.commit, tables.pipeline, tables.job])
        some = {"project": chance.choice([1, 2]), "version": bytes([chance.randrange(256)])}
        number = chance.randrange(40)
        if table is tables.push:
            ref = f"refs/{chance.choice(['heads', 'tags'])}/{number}"
            zero = [chance.choice(["0" * 40, "a"]), chance.choice(["0" * 40, "b"])]
            some |= {"ref": ref, "before": zero[0], "after": zero[1], "received_at": moment}
            some |= {"who": chance.choice(PEOPLE), "forced": chance.choice([None, 0, 1])}
        elif table is tables.commit:
            fixed = random.Random(number)
            some |= {
                "sha": str(number),
                "committed_at": NOW - timedelta(seconds=fixed.randrange(9 * 86400)),
                "utc_offset": 60,
            }
            some |= {"author": chance.choice(PEOPLE), "added": chance.choice([None, number % 3]), "modified": 1}
            some |= {"seen_at": moment, "lost_at": chance.choice([None, None, self.moment()])}
        else:
            made = NOW - timedelta(seconds=random.Random(number).randrange(9 * 86400))
            ended = chance.choice([None, min(NOW, made + timedelta(seconds=chance.randrange(3 * 86400)))])
            some |= {"id": number, "created_at": made, "finished_at": ended, "who": ANN, "ref": "main"}
            some |= {"status": chance.choice(["running", "success", "failed"]), "stage": "s", "name": str(number % 3)}
        return table, full(table, {name: it for name, it in some.items() if name in table.c})

    def learn(self, table, row):
        key = tuple(row[c.name] for c in table.primary_key)
        known = self.rows[table].get(key)
        self.rows[table][key] = join(table, known, row) if known else row

    def facts(self, metric):
        """Project, moment, who, label, value."""
        for row in self.rows[tables.push].values():
            branch, new = row["ref"].startswith("refs/heads/"), row["before"] == "0" * 40
            if {
                "pushes": branch,
                "force_pushes": branch and row["forced"] == 1,
                "branches_created": branch and new,
                "branches_deleted": branch and row["after"] == "0" * 40,
                "tags_created": not branch and new,
            }.get(metric):
                yield row["project"], row["received_at"], row["who"], None, None
        for row in self.rows[tables.commit].values():
            if row["lost_at"] is None or row["seen_at"] > row["lost_at"]:
                fact = row["project"], row["committed_at"], row["author"]
                local = row["committed_at"] + timedelta(minutes=row["utc_offset"])
                if metric == "commits":
                    yield *fact, None, None
                elif metric == "commit_hours":
                    yield *fact, 24 * local.weekday() + local.hour, None
                elif metric == "files":
                    yield from ((*fact, it, row[it]) for it in ("added", "modified", "removed") if row[it])
        for table in (tables.pipeline, tables.job):
            for row in self.rows[table].values():
                place = f"{row['stage']}/{row['name']}" if table is tables.job else None
                if metric == f"{table.name}s":
                    yield row["project"], row["created_at"], row["who"], row["status"], None
                elif metric == f"{table.name}_success_rate" and row["status"] != "running":
                    yield row["project"], row["finished_at"], row["who"], place, int(row["status"] == "success")

    def question(self):
        """Metric, span, and what else is asked."""
        chance, zone = self.chance, self.chance.choice(ZONES)
        metric = chance.choice(ROLLED)
        start, end = sorted([self.moment(), self.moment()])
        edges = chance.choice([None, buckets(Span(start, end), chance.choice(["day", "week"]), zone)])
        day = buckets(Span(start, end), "day", zone)
        spans = [Span(), Span(start, end), Span(day[0], day[-1]), Span(day[0]), Span(None, day[-1])]
        group = chance.choice([None, "project", "person", "team", "label"])
        ask = {"edges": edges, "group": group, "projects": chance.choice([None, [1], [1, 2]])}
        ask |= {"bots": chance.choice([True, True, False]), "team": chance.choice([None, None, "web"])}
        return metric, chance.choice(spans), ask

    def answer(self, metric, span, ask):
        """By bucket and group: count, and sum of values."""
        found = defaultdict(Counter)
        teams = {team.name: {person.name for person in team.members} for team in TEAMS}
        edges = ask["edges"]
        for project, at, who, label, value in self.facts(metric):
            if at is None and (span != Span() or edges):
                continue
            if at and ((span.start and at < span.start) or (span.end and at >= span.end)):
                continue
            if edges and not edges[0] <= at < edges[-1]:
                continue
            if (ask["projects"] and project not in ask["projects"]) or (not ask["bots"] and who == BOT):
                continue
            if ask["team"] and NAMES[who] not in teams[ask["team"]]:
                continue
            bucket = max(i for i, edge in enumerate(edges) if edge <= at) if edges else None
            inside = [name for name, names in teams.items() if NAMES[who] in names] or [None]
            groups = {None: [None], "project": [project], "person": [NAMES[who]], "team": inside, "label": [label]}
            for group in groups[ask["group"]]:
                found[bucket, group]["count"] += 1
                found[bucket, group]["sum"] += value or 0
        return {key: (it["count"], it["sum"]) for key, it in found.items()}


def figures(points: list[Point]):
    return {(p.bucket, p.group): (p.count, p.sum or 0) for p in points}


async def without(engine, monkeypatch, metric, span, **ask):
    """The answer from facts alone."""

    async def none(*_):
        return None

    with monkeypatch.context() as patched:
        patched.setattr(rollups, "plan", none)
        return await series(engine, metric, span, **ask)


@pytest.mark.parametrize("seed", range(3))
async def test_no_answer_depends_on_them(engine, monkeypatch, seed):
    chance = random.Random(seed)
    model = Model(chance)
    await insert(engine, {})
    for _ in range(12):
        for _ in range(chance.randrange(12)):
            table, row = model.row()
            model.learn(table, row)
            await write(engine, table, row)
        if chance.random() < 0.7:  # the roller's clock may run ahead of the writers', by less than the difference
            await rollups.roll(engine, NOW + timedelta(seconds=chance.randrange(23 * 3600)))
        for _ in range(8):
            metric, span, ask = model.question()
            points = await series(engine, metric, span, **ask)
            assert points == await without(engine, monkeypatch, metric, span, **ask), (metric, span, ask)
            assert figures(points) == model.answer(metric, span, ask), (metric, span, ask)


async def commits(engine, **ask):
    return sum(p.count for p in await series(engine, "commits", Span(), **ask))


async def test_they_are_used_and_rolled_up_again_where_something_came_late(engine):
    await insert(engine, {tables.commit: [commit(str(i), committed_at=NOW - i * DAY) for i in range(10)]})
    assert await rollups.roll(engine, NOW) == 2
    assert await rollups.roll(engine, NOW) == 0
    async with engine.begin() as connection:
        await connection.execute(sa.update(rollups.rollup).values(n=rollups.rollup.c.n + 100))
    assert await commits(engine) > 300
    assert await commits(engine, group="person") > 300
    assert await commits(engine, team="web") > 300
    assert (
        sum(p.count for p in await series(engine, "commits", Span(None, NOW))) > 300
    )  # no midnight, but not rolled up
    await write(engine, tables.commit, commit("new", committed_at=NOW - timedelta(hours=1)))
    assert await commits(engine) > 300
    await write(engine, tables.commit, commit("late", committed_at=NOW - 20 * DAY))
    assert await commits(engine) == 12
    assert await rollups.roll(engine, NOW) == 1
    assert await rollups.roll(engine, NOW) == 0
    assert await commits(engine) == 12


async def test_dropping_them_changes_no_answer(engine):
    await insert(engine, {tables.commit: [commit(str(i), committed_at=NOW - i * DAY) for i in range(10)]})
    await rollups.roll(engine, NOW)
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        await rollups.clear(connection)
    assert await commits(engine) == 10
    assert await rollups.roll(engine, NOW) == 2


@pytest.mark.parametrize("order", [(ANN, BEN), (BEN, ANN)])
async def test_a_push_that_is_made_again_is_whose_it_was_first(engine, monkeypatch, order):
    await insert(engine, {tables.push: [push("live", "a", "b", received_at=OLD, who=order[0])]})
    await rollups.roll(engine, NOW)
    await write(engine, tables.push, push("live", "a", "b", received_at=NOW, who=order[1]))
    counted = await series(engine, "pushes", Span(), group="person")
    assert [(it.group, it.count) for it in counted] == [(NAMES[order[0]], 1)]
    assert counted == await without(engine, monkeypatch, "pushes", Span(), group="person")


async def test_deleted_rows_are_touched_as_written_ones(engine):
    await insert(engine, {tables.push: [push("b", str(i), "x", received_at=OLD) for i in range(5)]})
    await rollups.roll(engine, NOW)
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        c = tables.push.c
        await connection.execute(sa.delete(tables.push).where(c.before == "3"))
        await rollups.touch(connection, {tables.push: [push("b", "3", "x", received_at=OLD, project=1)]})
    assert [p.count for p in await series(engine, "pushes", Span())] == [4]


async def test_live_traffic_leaves_no_marks(engine):
    await write(
        engine, tables.commit, commit("a", committed_at=NOW), commit("b", committed_at=NOW - timedelta(hours=23))
    )
    async with engine.connect() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(rollups.rolled))).scalar_one() == 0


async def test_what_has_nothing_new_to_say_leaves_no_mark(engine):
    await insert(engine, {})
    pipeline = full(tables.pipeline, {"id": 1, "created_at": OLD, "status": "success"})
    for _ in range(2):
        await write(engine, tables.commit, commit("a", committed_at=OLD))
        await write(engine, tables.pipeline, pipeline)
        await rollups.roll(engine, NOW)
    await write(engine, tables.commit, commit("a", committed_at=OLD))
    await write(engine, tables.pipeline, pipeline)
    assert await marks(engine) == []


async def marks(engine):
    """Since when days are to be made anew because of late writes."""
    async with engine.connect() as connection:
        found = await connection.execute(sa.select(rollups.rolled.c.until).where(rollups.rolled.c.zone == ""))
        return found.scalars().all()


async def test_what_may_be_rolled_up_before_it_is_written_leaves_a_mark(engine):
    at = NOW - timedelta(hours=30)  # younger than what is rolled up now, but a roller may be ahead
    await write(engine, tables.commit, commit("a", committed_at=at))
    assert await marks(engine) == [at]


@pytest.mark.parametrize("order", [(3, 6), (6, 3)])
async def test_a_mark_is_as_old_as_the_oldest_row_of_its_transaction(engine, order):
    await write(engine, tables.commit, *(commit(f"{i}", committed_at=NOW - days * DAY) for i, days in enumerate(order)))
    assert await marks(engine) == [NOW - 6 * DAY]


async def test_a_row_that_does_not_say_its_date_any_more_changes_all_days(engine):
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        await rollups.touch(connection, {tables.commit: [commit("a", committed_at=None, project=1)]})
    assert await marks(engine) == [rollups.DAWN]


async def more_projects(engine, *numbers):
    rows = [{"id": it, "instance": "x", "gitlab_id": it, "last_event_at": NOW, "version": b"1"} for it in numbers]
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        await connection.execute(sa.insert(tables.project), rows)


async def test_projects_that_are_behind_are_as_far_as_the_last_of_them(engine):
    await insert(engine, {})
    await more_projects(engine, 3, 4)
    for project in range(1, 5):
        await write(engine, tables.commit, commit("a", committed_at=NOW - 8 * DAY, project=project))
    assert await rollups.roll(engine, NOW) == 4
    await write(engine, tables.commit, commit("late", committed_at=NOW - 7 * DAY, project=3))
    await write(engine, tables.commit, commit("later", committed_at=NOW - 4 * DAY, project=4))
    assert await commits(engine) == 6


async def test_a_project_that_is_new_has_no_roll_ups_and_counts(engine):
    await insert(engine, {tables.commit: [commit("a", committed_at=OLD)]})
    assert await rollups.roll(engine, NOW) == 2
    await more_projects(engine, 3)
    await write(engine, tables.commit, commit("b", committed_at=OLD, project=3))
    assert await commits(engine) == 2


async def test_what_is_not_marked_when_it_is_written_is_not_rolled_up_before(engine):
    await insert(engine, {})
    await rollups.roll(engine, NOW)
    await write(engine, tables.commit, commit("a", committed_at=NOW - timedelta(hours=23)))
    assert await marks(engine) == []
    assert await commits(engine) == 1


async def test_a_summary_has_what_is_rolled_up_and_what_is_not(engine):
    merge_request = full(tables.merge_request, {"id": 1, "iid": 1, "author": ANN, "state": "opened", "created_at": OLD})
    await insert(engine, {tables.commit: [commit("a", committed_at=OLD)]})
    await write(engine, tables.merge_request, merge_request)
    asked = ("commits", "files", "merge_requests_opened")
    before = await totals(engine, asked, Span(), team="web")
    assert await rollups.roll(engine, NOW) == 2
    assert await totals(engine, asked, Span(), team="web") == before
    assert before["merge_requests_opened"].count == 1


@pytest.fixture
async def rolled(postgres_url):
    """On PostgreSQL, where writers and roller work at the same time: three commits, rolled up."""
    engine = create_engine(postgres_url)
    await migrate(engine)
    await insert(engine, {tables.commit: [commit(str(i), committed_at=OLD) for i in range(3)]})
    await rollups.roll(engine, NOW)
    yield engine
    await engine.dispose()


async def test_the_roller_waits_for_no_writer_and_forgets_none(rolled):
    await write(rolled, tables.commit, commit("first", committed_at=OLD))
    async with rolled.connect() as writer:
        await write(rolled, tables.commit, commit("second", committed_at=OLD), connection=writer)
        assert await rollups.roll(rolled, NOW) == 1  # consumes the first one's mark, and does not see the second
        assert await commits(rolled) == 4
        await writer.commit()
    assert await commits(rolled) == 5
    assert await rollups.roll(rolled, NOW) == 1
    assert await commits(rolled) == 5


async def somebody_waits(engine):
    """Until a lock is not granted."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with engine.connect() as connection:
        while not (await connection.exec_driver_sql(query)).scalar_one():  # noqa: ASYNC110 -- the database does not tell
            await asyncio.sleep(0.01)


async def test_a_late_write_that_commits_while_the_roller_is_at_it_is_not_forgotten(rolled):
    await write(rolled, tables.commit, commit("first", committed_at=OLD))
    async with rolled.connect() as holder:
        last = sa.select(rollups.rollup.c.n).where(rollups.rollup.c.zone == "UTC").with_for_update()
        await holder.execute(last)
        roller = asyncio.create_task(rollups.roll(rolled, NOW))
        await somebody_waits(rolled)  # it has made the other zones' sums
        await write(rolled, tables.commit, commit("second", committed_at=OLD))
        await holder.rollback()
        await roller
    for _ in range(2):
        for zone in ZONES[:3]:
            span = Span(buckets(Span(OLD - DAY, OLD), "day", zone)[0])
            assert [p.count for p in await series(rolled, "commits", span)] == [5], zone
        await rollups.roll(rolled, NOW)


async def test_an_answer_is_of_one_moment_though_roll_ups_go_meanwhile(rolled, monkeypatch):
    plan = rollups.plan

    async def and_then_all_is_cleared(*arguments):
        made = await plan(*arguments)
        async with rolled.execution_options(gitpulse_writes=True).begin() as other:
            await rollups.clear(other)
        return made

    monkeypatch.setattr(rollups, "plan", and_then_all_is_cleared)
    assert await commits(rolled) == 3


async def test_two_rollers_take_turns(rolled):
    await write(rolled, tables.commit, commit("late", committed_at=OLD))
    await asyncio.gather(*(rollups.roll(rolled, NOW) for _ in range(4)))
    assert await commits(rolled) == 4


async def test_roll_ups_made_beside_a_clearing_do_not_hold(rolled):
    """Somebody deletes facts and clears: a roller that had seen them must not bring them back."""
    async with rolled.connect() as other:
        await other.execute(sa.delete(tables.commit))
        await write(rolled, tables.commit, commit("late", committed_at=OLD))
        await rollups.roll(rolled, NOW)
        await rollups.clear(other)
        await other.commit()
    assert await commits(rolled) == 1
