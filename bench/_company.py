"""A year of a company of 200, straight into the tables; and how long it takes to answer what such a company asks.

About 5 million events: 1.5 M commits in 600 k pushes, 100 k merge requests with 450 k reviews, 500 k pipelines with 2 M
jobs, on 100 projects. `query_p95_ms` makes all that, rolls it up, and asks.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.contract import Person, Team
from gitpulse_service.store import keys, people, rollups, tables
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.facts import METRICS, SUMMARY
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.queries import series, totals
from gitpulse_service.store.spans import Span, buckets

PEOPLE, TEAMS, PROJECTS = 200, 25, 100
ACCOUNT, AUTHOR = 1_000, 2_000
"""Where the keys of their identities begin."""
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YEAR = Span(END - timedelta(days=365), END)

# Who did what, when: rows `i, who (0 to 199), project, at` in the order in which they happened, on working days mostly.
_WORK = """
    FROM (
        SELECT i, floor(r1 * 200)::int AS who,
            1 + (CASE WHEN r2 < 0.97 THEN floor(r1 * 25) * 4
                     + (floor(r1 * 200)::int + (i * 52.0 / {n})::int + (r2 < 0.15)::int * floor(r3 * 4)::int) % 4
                 ELSE floor(r3 * 100) END)::int AS project,
            (day - CASE WHEN extract(isodow FROM day) > 5 AND r4 < 0.9 THEN 2 ELSE 0 END * interval '1 day'
                + (7 + 6 * (r5 + r6)) * interval '1 hour')::timestamptz(0) AS at, r2, r3, r4, r5, r6
        FROM (
            SELECT i, date_trunc('day', '{start}'::timestamptz + interval '1 second' * (i * 31536000.0 / {n})) AS day,
                random() r1, random() r2, random() r3, random() r4, random() r5, random() r6
            FROM generate_series(0, {n} - 1) i
        ) AS drawn
    ) AS work
"""
_SHA = "left(md5(i::text) || md5(i::text), 40)"
_BRANCH = "CASE WHEN r4 < 0.2 THEN 'main' ELSE 'topic-' || who || '-' || i / 5000 END"
_STATUS = "CASE WHEN r6 < 0.8 THEN 'success' WHEN r6 < 0.95 THEN 'failed' ELSE 'canceled' END"
_WHO = f"{ACCOUNT} + who"
_MATE = f"{ACCOUNT} + (mr.author - {ACCOUNT}) / 8 * 8 + floor(r2 * 8)"
_REVIEWED = "JOIN merge_request mr ON mr.id = i / ({n} / 100000)"
# How many rows, and their columns.
ROWS: dict[str, tuple[int, dict[str, str]]] = {
    "commit": (
        1_500_000,
        {
            "sha": _SHA,
            "committed_at": "at",
            "utc_offset": "60",
            "author": f"{AUTHOR} + who",
            "seen_at": "at",
            "added": "floor(r4 * 3)",
            "modified": "floor(r5 * 6)",
            "removed": "floor(r6 * 2)",
        },
    ),
    "push": (
        600_000,
        {
            "ref": f"'refs/heads/' || {_BRANCH}",
            "after": _SHA,
            "received_at": "at",
            "who": _WHO,
            "before": f"CASE WHEN r3 < 0.1 THEN repeat('0', 40) ELSE {_SHA} END",
            "forced": "(r5 < 0.05)::int",
        },
    ),
    "merge_request": (
        100_000,
        {
            "id": "i",
            "iid": "i",
            "author": _WHO,
            "source_branch": "'t'",
            "target_branch": "'main'",
            "state": "CASE WHEN r4 < 0.9 THEN 'merged' WHEN r4 < 0.97 THEN 'closed' ELSE 'opened' END",
            "created_at": "at",
            "merged_at": "CASE WHEN r4 < 0.9 THEN at + r5 * r6 * interval '5 days' END",
            "closed_at": "CASE WHEN r4 BETWEEN 0.9 AND 0.97 THEN at + r5 * r6 * interval '20 days' END",
        },
    ),
    "review": (
        450_000,
        {
            "project": "mr.project",
            "merge_request": "mr.id",
            "who": _MATE,
            "at": "mr.created_at + r5 * interval '2 days'",
        },
    ),
    "issue": (
        60_000,
        {
            "id": "i",
            "iid": "i",
            "author": _WHO,
            "created_at": "at",
            "type": "CASE WHEN r4 < 0.98 THEN 'Issue' ELSE 'Incident' END",
            "state": "CASE WHEN r5 < 0.8 THEN 'closed' ELSE 'opened' END",
            "labels": """CASE WHEN r6 < 0.5 THEN '["bug"]' ELSE '["area-' || floor(r6 * 20) || '","wish"]' END""",
            "closed_at": "CASE WHEN r5 < 0.8 THEN at + r3 * interval '30 days' END",
        },
    ),
    "pipeline": (
        500_000,
        {
            "id": "i",
            "iid": "i",
            "ref": _BRANCH,
            "who": _WHO,
            "status": _STATUS,
            "created_at": "at",
            "finished_at": "at + (60 + 900 * r5)::int * interval '1 second'",
            "duration": "(30 + 800 * r5)::int",
            "queued_duration": "(40 * r3)::int",
        },
    ),
    "job": (
        2_000_000,
        {
            "id": "i",
            "pipeline": "i / 4",
            "who": _WHO,
            "status": _STATUS,
            "created_at": "at",
            "stage": "CASE WHEN i % 4 < 3 THEN 'test' ELSE 'build' END",
            "name": "'job-' || (project % 5) * 4 + i % 4",
            "finished_at": "at + (20 + 600 * r5)::int * interval '1 second'",
            "duration": "(10 + 600 * r5)::int",
            "queued_duration": "(30 * r3)::int",
        },
    ),
    "deployment": (
        20_000,
        {
            "id": "i",
            "who": _WHO,
            "status": "'success'",
            "succeeded_at": "at",
            "environment": "CASE WHEN r4 < 0.5 THEN 'live' ELSE 'stage' END",
            "tier": "CASE WHEN r4 < 0.5 THEN 'production' ELSE 'staging' END",
        },
    ),
    "release": (2_000, {"tag": "'v' || i", "created_at": "at", "name": "'v'", "released_at": "at"}),
}
_DEPLOYED = """
    UPDATE merge_request mr SET deployed_at = (
        SELECT succeeded_at FROM deployment WHERE project = mr.project AND tier = 'production'
        AND succeeded_at >= mr.merged_at ORDER BY succeeded_at LIMIT 1)
"""


def name(who: int) -> str:
    """A person's."""
    return f"Person {who}"


def team(number: int) -> str:
    """A team's."""
    return f"team-{number}"


async def fill(engine: AsyncEngine, say: Callable[[str], None] = lambda _: None) -> None:
    """Makes the year, in a database of PostgreSQL that is empty."""
    await migrate(engine)
    async with engine.begin() as connection:
        common = {"version": b"1"}
        at = {"last_event_at": END, "default_branch": "main", "instance": "https://gitlab.example", **common}
        projects = [
            {"id": i, "gitlab_id": i, "path": f"acme/p{i}", "name": f"p{i}", **at} for i in range(1, PROJECTS + 1)
        ]
        await connection.execute(sa.insert(tables.project), projects)
        identities = []
        for who in range(PEOPLE):
            email, user = f"p{who}@acme.example", f"p{who}"
            author = {"id": AUTHOR + who, "name": name(who), "email": email, "username": None}
            account = {"id": ACCOUNT + who, "name": name(who), "email": None, "username": user}
            identities += [
                {**it, **keys.handles(it["name"], it["email"], it["username"], None), **common}
                for it in (author, account)
            ]
        await connection.execute(sa.insert(tables.identity), identities)
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("SET LOCAL statement_timeout = 0; SELECT setseed(0.42)")
        for table, (n, said) in ROWS.items():
            began = time.perf_counter()
            columns = {
                "project": "project",
                **({"version": "'\\x00'"} if "version" in tables.metadata.tables[table].c else {}),
                **said,
            }
            reviewed = _REVIEWED.format(n=n) if "mr." in said.get("project", "") else ""
            work = _WORK.format(start=YEAR.start, n=n)
            into = f'INSERT INTO "{table}" ({", ".join(columns)}) SELECT {", ".join(columns.values())}'
            await driver.execute(f"{into} {work} {reviewed} ON CONFLICT DO NOTHING", timeout=3600)
            say(f"{table}: {n:,} in {time.perf_counter() - began:.0f} s")
        await driver.execute(_DEPLOYED)
    teams = [
        Team(
            team(t),
            tuple(
                Person(name(t * 8 + i), (f"p{t * 8 + i}@acme.example",), usernames=(f"p{t * 8 + i}",)) for i in range(8)
            ),
            zone,
        )
        for t, zone in enumerate(["Europe/Berlin", *["UTC"] * (TEAMS - 1)])
    ]
    await people.replace(engine, "bench", teams)
    await _vacuum(engine)


async def _vacuum(engine: AsyncEngine) -> None:
    """As the database does by itself, some time after so much was written."""
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("SET statement_timeout = 0")
        await driver.execute("VACUUM ANALYZE", timeout=3600)


Ask = Callable[[AsyncEngine], Awaitable[Any]]


def question(chance: random.Random) -> tuple[str, Ask]:
    """What people ask for: mostly of a project or a team, of weeks or months, and now and then of all."""
    counts = [it.name for it in METRICS.values() if it.unit == "count"]
    values = [it.name for it in METRICS.values() if it.unit != "count" and not it.as_of]
    zone = ZoneInfo(chance.choice(["UTC", "Europe/Berlin"]))
    metric = chance.choice(chance.choice([counts, values]))
    days = chance.choice([30, 30, 90, 365])
    recent = Span(buckets(Span(END - timedelta(days=days), END), "day", zone)[0], END)
    year = Span(buckets(YEAR, "day", zone)[0], END)
    weeks, months = buckets(recent, "week", zone), buckets(year, "month", zone)
    one, of, who = chance.randint(1, PROJECTS), team(chance.randrange(TEAMS)), name(chance.randrange(PEOPLE))
    group: Any = chance.choice(["project", "person", "team", *(["label"] if METRICS[metric].labels else [])])
    ask: list[tuple[int, str, Ask]] = [
        (1, "project summary", lambda e: totals(e, SUMMARY, recent, projects=[one])),
        (1, "team summary", lambda e: totals(e, SUMMARY, recent, team=of)),
        (1, "DORA", lambda e: totals(e, DORA, recent, team=of)),
        (3, "team by week", lambda e: series(e, metric, recent, team=of, edges=weeks)),
        (2, "team by person", lambda e: series(e, metric, recent, team=of, group="person")),
        (3, "project by week", lambda e: series(e, metric, recent, projects=[one], edges=weeks)),
        (2, "project grouped", lambda e: series(e, metric, recent, projects=[one], group=group)),
        (2, "person by week", lambda e: series(e, metric, recent, person=who, edges=weeks)),
        (1, "hours of a team", lambda e: series(e, "commit_hours", recent, team=of, group="label")),
        (1, "company by month", lambda e: series(e, metric, year, edges=months)),
        (1, "company grouped", lambda e: series(e, metric, recent, group=group)),
    ]
    _, kind, asked = chance.choices(ask, [weight for weight, *_ in ask])[0]
    return kind, asked


DORA = ("deployments", "lead_time_for_changes", "incidents_opened", "time_to_restore")


async def _measure(url: str, n: int, say: Callable[[str], None]) -> float:
    engine = create_engine(url)
    async with engine.connect() as connection:
        there = await connection.run_sync(lambda it: sa.inspect(it).has_table("commit"))
    if not there:
        await fill(engine, say)
    while behind := await rollups.roll(engine):
        say(f"roll-ups: {behind} projects to go")
    await _vacuum(engine)
    took: dict[str, list[float]] = {}
    chance = random.Random(6)
    for i in range(-40, n):
        kind, ask = question(chance)
        began = time.perf_counter()
        await ask(engine)
        if i >= 0:
            took.setdefault(kind, []).append(1000 * (time.perf_counter() - began))
    await engine.dispose()
    for kind, each in took.items():
        say(f"{kind}: median {statistics.median(each):.0f} ms, longest {max(each):.0f} ms")
    return statistics.quantiles([it for each in took.values() for it in each], n=20)[-1]


def query_p95_ms(url: str, n: int = 550, say: Callable[[str], None] = lambda _: None) -> float:
    """The 95th percentile, in milliseconds, of `n` questions about the year; it is made where it is not there yet."""
    return asyncio.run(_measure(url, n, say))
