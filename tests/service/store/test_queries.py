"""Spans, buckets, groups, filters and percentiles, on both databases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from gitpulse_service.store import tables
from gitpulse_service.store.facts import METRICS
from gitpulse_service.store.queries import Point, find_projects, projects, series, totals
from gitpulse_service.store.spans import Span, buckets
from harness.company import ANN, BEN, BOT, CLEO, MONDAY, STRANGER, at, commit, insert, job, mr, push

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


def utc(*moment):
    return datetime(*moment, tzinfo=UTC)


ALL = Span()


async def counts(engine, metric, span=ALL, **more):
    """By bucket where there are edges, else by group."""
    points = await series(engine, metric, span, **more)
    return {p.bucket if more.get("edges") else p.group: p.count for p in points}


def test_a_day_is_as_long_as_the_clock_says():
    edges = buckets(Span(utc(2026, 3, 28, 12), utc(2026, 3, 29, 23)), "day", BERLIN)
    assert edges == [utc(2026, 3, 27, 23), utc(2026, 3, 28, 23), utc(2026, 3, 29, 22), utc(2026, 3, 30, 22)]


@pytest.mark.parametrize(
    ("zone", "day", "edges"),
    [
        ("America/Sao_Paulo", (2018, 11, 4), [utc(2018, 11, 4, 3), utc(2018, 11, 5, 2)]),  # no midnight: 1:00 follows
        ("America/Havana", (2025, 11, 2), [utc(2025, 11, 2, 4), utc(2025, 11, 3, 5)]),  # midnight comes twice
        ("Asia/Kathmandu", (2026, 1, 1), [utc(2025, 12, 31, 18, 15), utc(2026, 1, 1, 18, 15)]),
    ],
)
def test_a_day_begins_with_its_first_moment(zone, day, edges):
    noon = datetime(*day, 12, tzinfo=ZoneInfo(zone))
    assert buckets(Span(noon, noon + timedelta(seconds=1)), "day", ZoneInfo(zone)) == edges


@pytest.mark.parametrize(
    ("every", "edges"),
    [
        ("week", [utc(2024, 2, 26), utc(2024, 3, 4), utc(2024, 3, 11)]),
        ("month", [utc(2024, 2, 1), utc(2024, 3, 1), utc(2024, 4, 1)]),
        ("quarter", [utc(2024, 1, 1), utc(2024, 4, 1)]),
        ("year", [utc(2024, 1, 1), utc(2025, 1, 1)]),
    ],
)
def test_buckets_hold_the_span(every, edges):
    assert buckets(Span(utc(2024, 2, 29), utc(2024, 3, 5)), every, UTC_ZONE) == edges


def test_a_span_without_a_bound_has_no_buckets():
    with pytest.raises(ValueError, match="both bounds"):
        buckets(Span(MONDAY, None), "day", BERLIN)


async def test_facts_fall_into_the_buckets_of_the_zone(engine):
    moments = [utc(2026, 3, 28, 22, 59, 59), utc(2026, 3, 28, 23), utc(2026, 3, 29, 21, 59, 59), utc(2026, 3, 29, 22)]
    await insert(engine, {tables.push: [push("b", str(i), "x", received_at=it) for i, it in enumerate(moments)]})
    span = Span(utc(2026, 3, 27, 23), utc(2026, 3, 30, 22))
    edges = buckets(span, "day", BERLIN)
    assert await counts(engine, "pushes", span, edges=edges) == {0: 1, 1: 2, 2: 1}
    assert await counts(engine, "pushes", Span(moments[1], moments[3]), edges=edges) == {1: 2}
    assert await counts(engine, "pushes", Span(), edges=[it.astimezone(BERLIN) for it in edges[1:]]) == {0: 2, 1: 1}


async def test_a_span_holds_its_start_and_not_its_end(engine):
    await insert(engine, {tables.push: [push("b", str(i), "x", received_at=at(i)) for i in range(4)]})
    assert await counts(engine, "pushes", Span(at(1), at(3))) == {None: 2}


async def test_what_has_no_moment_lies_only_in_a_span_without_bounds(engine):
    await insert(engine, {tables.commit: [commit("a", committed_at=None), commit("b")]})
    assert await counts(engine, "commits") == {None: 2}
    assert (
        await counts(engine, "commits", Span(None, at(1))) == await counts(engine, "commits", Span(MONDAY)) == {None: 1}
    )


async def test_a_branch_is_active_once_in_each_bucket(engine):
    moments = [at(1), at(2), at(25), at(26)]
    await insert(engine, {tables.push: [push("b", str(i), "x", received_at=it) for i, it in enumerate(moments)]})
    span = Span(MONDAY, MONDAY + timedelta(days=2))
    assert await counts(engine, "branches_active", span) == {None: 1}
    assert await counts(engine, "branches_active", span, edges=buckets(span, "day", UTC_ZONE)) == {0: 1, 1: 1}


BY = {ANN: 1, BEN: 2, CLEO: 3, BOT: 4, STRANGER: 5, None: 6, 99: 7}
"""How many pushes by whom; of 99 no identity is known."""


@pytest.fixture
async def pushed(engine):
    rows = [push(f"{who}-{i}", "a", "b", who=who, project=1 + i % 2) for who, n in BY.items() for i in range(n)]
    await insert(engine, {tables.push: rows})
    return engine


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ({}, {None: 28}),
        ({"group": "person"}, {"Ann": 1, "Ben": 2, "Cleo": 3, "renovate-bot": 4, "Stranger": 5, None: 13}),
        ({"group": "team"}, {"web": 3, "api": 5, None: 22}),  # Ben is in both
        ({"group": "project"}, {1: 16, 2: 12}),
        ({"group": "label"}, {None: 28}),
        ({"projects": [2]}, {None: 12}),
        ({"projects": []}, {}),
        ({"team": "web"}, {None: 3}),
        ({"team": "web", "group": "person"}, {"Ann": 1, "Ben": 2}),
        ({"team": "nobody's"}, {}),
        ({"person": "Cleo"}, {None: 3}),
        ({"person": "Stranger"}, {None: 5}),
        ({"person": "Ann", "team": "api"}, {}),
        ({"bots": False}, {None: 24}),
        ({"bots": False, "group": "person"}, {"Ann": 1, "Ben": 2, "Cleo": 3, "Stranger": 5, None: 13}),
        ({"person": "renovate-bot", "bots": False}, {}),
    ],
)
async def test_groups_and_filters(pushed, ask, answer):
    assert await counts(pushed, "pushes", **ask) == answer
    assert await counts(pushed, "pushes", Span(MONDAY, at(1)), **ask) == answer


async def test_who_is_forgotten_is_nobody(pushed):
    async with pushed.begin() as connection:
        gone = {
            "name": "",
            "username": "",
            "email": "",
            "name_key": "",
            "username_key": "",
            "email_key": "",
            "account_key": "",
        }
        await connection.execute(sa.update(tables.identity).where(tables.identity.c.id == STRANGER).values(gone))
    assert (await counts(pushed, "pushes", group="person"))[None] == 18


def nearest_rank(values, percent):
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


async def test_percentiles_are_values_that_occurred(engine):
    chance = random.Random(6)
    sizes = [*range(1, 13), 19, 20, 21, 100]
    values = {
        f"n{size}": [chance.choice([chance.randrange(9), chance.randrange(10**6)]) for _ in range(size)]
        for size in sizes
    }
    number = iter(range(10**6))
    rows = [job(next(number), name=name, duration=it) for name, some in values.items() for it in some]
    await insert(engine, {tables.job: rows})
    points = {p.group: p for p in await series(engine, "job_duration", Span(), group="label")}
    for name, some in values.items():
        mean = (2 * sum(some) + len(some)) // (2 * len(some))
        ranks = [nearest_rank(some, it) for it in (50, 75, 90, 95)]
        assert points[f"test/{name}"] == Point(None, f"test/{name}", len(some), sum(some), mean, *ranks)


async def test_percentiles_of_each_bucket_and_group(engine):
    rows = [
        mr(10 * day + i, author=who, created_at=MONDAY, merged_at=at(24 * day, 0, i))
        for day in (0, 1)
        for i in range(4)
        for who in (ANN if i % 2 else BEN,)
    ]
    await insert(engine, {tables.merge_request: rows})
    span = Span(MONDAY, MONDAY + timedelta(days=2))
    points = await series(engine, "time_to_merge", span, edges=buckets(span, "day", UTC_ZONE), group="person")
    found = [(p.bucket, p.group, p.count, p.p50, p.p95) for p in points]
    assert found == [
        (0, "Ann", 2, 1, 3),
        (0, "Ben", 2, 0, 2),
        (1, "Ann", 2, 86_401, 86_403),
        (1, "Ben", 2, 86_400, 86_402),
    ]


async def test_a_mean_of_seconds_is_whole_and_of_files_and_rates_exact(engine):
    merged = [mr(i, merged_at=at(0, 0, it)) for i, it in enumerate([1, 2])]
    rows = {tables.merge_request: merged, tables.commit: [commit("a", added=1), commit("b", added=2)]}
    rows[tables.job] = [job(1), job(2, status="failed"), job(3)]
    await insert(engine, rows)
    found = await totals(engine, ["time_to_merge", "files", "job_success_rate", "commits"], Span())
    assert [p.mean for p in found.values()] == [2, 1.5, 2 / 3, None]
    assert (found["job_success_rate"].p50, found["files"].p50) == (None, 1)


async def test_totals_are_what_series_says(pushed):
    for ask in ({}, {"team": "web"}, {"projects": [1], "bots": False}):
        span = Span(MONDAY, at(1))
        found = await totals(pushed, list(METRICS), span, **ask)
        assert list(found) == list(METRICS)
        for name, point in found.items():
            assert [point] == (await series(pushed, name, span, **ask) or [Point(None, None, 0)])
    assert await totals(pushed, [], Span()) == {}


async def test_projects_by_path_or_number(pushed):
    assert [p.key for p in await projects(pushed)] == [1, 2]
    assert [p.key for p in await find_projects(pushed, "2")] == [2]
    assert await find_projects(pushed, "2", "https://elsewhere") == []
