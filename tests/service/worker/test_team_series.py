"""Series about teams: only where they were asked for, and never more than were allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from gitpulse_service.store import tables
from gitpulse_service.store.facts import METRICS
from gitpulse_service.worker.team_series import COUNTED, MEASURED, export
from harness import office


def series(name):
    (family,) = [family for family in REGISTRY.collect() if family.name == name]
    return {(s.labels["team"], s.labels["metric"]): s.value for s in family.samples}


@pytest.fixture
async def lately(engine):
    """The company, and what web did today: a commit of Ann's, and two merge requests, of one and of three hours."""
    await office.settle(engine)
    now = datetime.now(UTC) - timedelta(minutes=1)
    async with engine.begin() as connection:
        await office.put(
            connection, tables.commit, project=office.API, sha="a", author=office.ANN, committed_at=now, seen_at=now
        )
        for number, hours in ((10, 1), (11, 3)):
            await office.put(
                connection, tables.merge_request, project=office.API, id=number, author=office.ANN, state="merged",
                created_at=now - timedelta(hours=hours), merged_at=now,
            )  # fmt: skip
    return engine


async def test_they_say_what_teams_did_in_seven_days(lately):
    await export(lately, 1000)
    counts = series("gitpulse_team_count")
    assert counts.keys() == {(team, metric) for team in ("web", "ops") for metric in COUNTED}
    assert (counts["web", "commits"], counts["web", "merge_requests_merged"], counts["ops", "commits"]) == (1, 2, 0)
    assert series("gitpulse_team_median_seconds") == {("web", "time_to_merge"): 3600}
    assert REGISTRY.get_sample_value("gitpulse_team_series_left_out") == 0


async def test_those_over_the_limit_are_left_out_and_counted(lately):
    await export(lately, 1000)
    await export(lately, 4)
    counts = series("gitpulse_team_count")
    assert (len(counts), {team for team, _ in counts}) == (4, {"ops"})
    assert series("gitpulse_team_median_seconds") == {}
    assert REGISTRY.get_sample_value("gitpulse_team_series_left_out") == 2 * len(COUNTED) + 1 - 4


async def test_a_team_that_is_gone_is_gone(lately):
    await export(lately, 1000)
    await office.people.replace(lately, "test", office.TEAMS[1:])
    await export(lately, 1000)
    assert {team for team, _ in series("gitpulse_team_count")} == {"ops"}


def test_every_series_is_a_metric_of_ours():
    assert {METRICS[name].unit for name in MEASURED} == {"seconds"}
    assert set(COUNTED) <= METRICS.keys()
