"""The numbers: metrics by bucket and group, summaries, DORA."""

from __future__ import annotations

import pytest

from gitpulse_service.store.facts import METRICS
from harness import office

JANUARY = {"from_": "2026-01-05", "to": "2026-01-09"}


def cells(answer, *names):
    return [tuple(row[name] for name in names) for row in answer["items"]]


async def test_the_catalogue_says_of_every_metric_what_it_means(get):
    found = {it["name"]: it for it in (await get("metrics"))["items"]}
    assert found.keys() == METRICS.keys()
    assert all(len(it["meaning"]) > 20 for it in found.values())
    assert found["force_pushes"]["meaning"] == "Pushes after which the branch lacks a commit that it had."
    assert found["merge_requests_open"]["buckets"] is False
    assert found["reviews"]["group_by"] == ["project", "person", "team", "label"]


@pytest.mark.parametrize("metric", METRICS)
async def test_every_metric_is_answered(get, metric):
    answer = await get(f"metrics/{metric}", group_by="project", **JANUARY)
    assert (answer["metric"], answer["unit"]) == (metric, METRICS[metric].unit)


async def test_without_a_span_it_is_all_time(get):
    answer = await get("metrics/commits")
    assert (answer["from"], answer["to"], cells(answer, "count", "start", "end")) == (None, None, [(8, None, None)])


async def test_buckets_are_days_of_the_zone_and_quiet_ones_are_there_too(get):
    days = await get("metrics/commits", bucket="day", person="Ann Lee", **JANUARY)
    assert cells(days, "start", "count") == [
        (f"2026-01-0{day}T00:00:00Z", n) for day, n in ((5, 3), (6, 1), (7, 1), (8, 0))
    ]
    berlin = await get("metrics/commits", bucket="day", person="Ann Lee", tz="Europe/Berlin", **JANUARY)
    assert cells(berlin, "start", "end", "count")[2:] == [
        ("2026-01-07T00:00:00+01:00", "2026-01-08T00:00:00+01:00", 0),
        ("2026-01-08T00:00:00+01:00", "2026-01-09T00:00:00+01:00", 1),
    ]
    assert (berlin["from"], berlin["time_zone"]) == ("2026-01-05T00:00:00+01:00", "Europe/Berlin")


async def test_a_teams_days_are_those_of_its_zone(get):
    assert (await get("metrics/commits", team="web"))["time_zone"] == "Europe/Berlin"
    assert (await get("metrics/commits", team="web", tz="UTC"))["time_zone"] == "UTC"
    assert (await get("metrics/commits", team="ops"))["time_zone"] == "UTC"


async def test_a_bucket_that_the_span_cuts_says_so(get):
    weeks = await get("metrics/commits", bucket="week", from_="2026-01-06T10:00:00Z", to="2026-01-13")
    assert cells(weeks, "start", "end", "count") == [
        ("2026-01-06T10:00:00Z", "2026-01-12T00:00:00Z", 1),
        ("2026-01-12T00:00:00Z", "2026-01-13T00:00:00Z", 0),
    ]


@pytest.mark.parametrize(
    ("bucket", "days"), [("day", 30), ("week", 210), ("month", 913), ("quarter", 2740), ("year", 10957)]
)
async def test_without_a_start_it_is_the_last_thirty_whole_buckets(get, bucket, days):
    answer = await get("metrics/commits", bucket=bucket)
    starts = cells(answer, "start")
    assert len(starts) == 30
    assert all("T00:00:00Z" in start for (start,) in starts)
    again = await get("metrics/commits", bucket=bucket, to="2026-01-06")
    assert (len(again["items"]), again["to"], again["items"][-1]["end"]) == (30, "2026-01-06T00:00:00Z", again["to"])


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("project", [("acme/api", 2), ("acme/website", 6)]),
        ("person", [("=Cleo()", 1), ("Ann Lee", 5), ("Ben Okafor", 2)]),
        ("team", [("ops", 2), ("web", 7), (None, 1)]),
    ],
)
async def test_groups_go_by_their_names(get, group, expected):
    assert cells(await get("metrics/commits", group_by=group), "group", "count") == expected


async def test_hours_of_the_week_come_in_their_order(get):
    hours = cells(await get("metrics/commit_hours", group_by="label", person="Ann Lee"), "group", "count")
    assert hours == [(10, 1), (11, 1), (12, 1), (34, 1), (72, 1)]


async def test_buckets_and_groups_together_hold_what_there_is(get):
    answer = await get("metrics/commits", bucket="day", group_by="project", **JANUARY)
    assert cells(answer, "start", "group", "count") == [
        ("2026-01-05T00:00:00Z", "acme/website", 4),
        ("2026-01-06T00:00:00Z", "acme/api", 2),
        ("2026-01-06T00:00:00Z", "acme/website", 1),
        ("2026-01-07T00:00:00Z", "acme/website", 1),
    ]


async def test_values_are_described(get):
    (row,) = (await get("metrics/time_to_merge", project="acme/website"))["items"]
    assert row == {
        "start": None,
        "end": None,
        "group": None,
        "count": 3,
        "sum": 32400,
        "mean": 10800,
        "p50": 7200,
        "p75": 21600,
        "p90": 21600,
        "p95": 21600,
    }


async def test_several_projects_are_asked_for_at_once(get):
    assert cells(await get("metrics/commits", project=["42", "acme/api"]), "count") == [(8,)]
    assert cells(await get("metrics/commits", project=43), "count") == [(2,)]


@pytest.mark.parametrize(
    ("path", "parameters", "says"),
    [
        ("metrics/commits", {"colour": "red"}, "there is no parameter colour here"),
        ("metrics/commits", {"from_": "yesterday"}, "from: must be an ISO 8601 date or time, such as 2026-01-31"),
        ("metrics/commits", {"to": "2026-02-30"}, "to: must be an ISO 8601"),
        ("metrics/commits", {"bucket": "hour"}, "bucket: Input should be 'day', 'week'"),
        ("metrics/commits", {"limit": "0"}, "limit: Input should be greater than or equal to 1"),
        ("metrics/commits", {"format": "xml"}, "format: Input should be 'json' or 'csv'"),
        ("projects/42/summary", {"projects": "43"}, "there is no parameter projects here"),
        ("projects", {"from": "2026-01-01"}, "there is no parameter from here"),
        ("dora", {"bucket": "day"}, "there is no parameter bucket here"),
    ],
)
async def test_what_is_not_known_is_refused_by_its_name(refused, path, parameters, says):
    assert says in await refused(400, path, **parameters)


@pytest.mark.parametrize(
    ("path", "parameters", "says"),
    [
        ("metrics/commits", {"from_": "2026-02-01", "to": "2026-01-01"}, "from must not be later than to"),
        ("metrics/commits", {"tz": "Mars/Olympus"}, "there is no time zone Mars/Olympus; name one like Europe/Berlin"),
        ("metrics/commits", {"tz": "../../etc/passwd"}, "there is no time zone"),
        ("metrics/commits", {"to": "0001-01-01T00:00:00+01:00"}, "within the years 1 to 9999"),
        ("metrics/commits", {"from_": "0001-01-01T00:00Z", "tz": "America/New_York"}, "within the years 1 to 9999"),
        ("metrics/commits", {"bucket": "day", "from_": "2000-01-01"}, "ask for a shorter span, or for longer buckets"),
        ("metrics/commits", {"bucket": "year", "to": "9999-12-31"}, "well within the years 1 to 9999"),
        ("metrics/commits", {"group_by": "label"}, "commits is grouped by one of: project, person, team"),
        ("metrics/merge_requests_open", {"bucket": "day"}, "no buckets"),
        ("metrics/commits", {"cursor": "nonsense"}, "this cursor is none"),
        ("metrics/commits", {"cursor": "WyJhIl0"}, "this cursor is none"),
    ],
)
async def test_what_makes_no_sense_together_says_what_would(refused, path, parameters, says):
    assert says in await refused(422, path, **parameters)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("metrics/comits", "there is no metric comits; /api/v1/metrics lists them"),
        ("metrics/commits?team=wbe", "there is no team wbe; /api/v1/teams lists them"),
        ("metrics/commits?project=acme/other", "no event of a project acme/other"),
        ("teams/wbe/summary", "there is no team wbe"),
        ("people/Nobody/summary", "nobody named Nobody"),
        ("projects/acme/other/summary", "no event of a project acme/other"),
    ],
)
async def test_a_typo_is_not_nothing(client, path, says):
    answer = await client.get(path)
    assert (answer.status_code, says in answer.json()["detail"]) == (404, True), answer.text


async def summary(get, path, **parameters):
    answer = await get(f"{path}/summary", **parameters)
    by_label_alone = {"commit_hours", "issues_opened_by_label", "issues_closed_by_label"}
    assert [item["metric"] for item in answer["items"]] == [name for name in METRICS if name not in by_label_alone]
    return answer, {item["metric"]: item["count"] for item in answer["items"]}


async def test_summaries_hold_all_but_what_splits_another_metric(get):
    answer, counts = await summary(get, "projects/acme%2Fwebsite")
    assert (answer["project"]["path"], answer["team"], counts["commits"], counts["deployments"]) == (
        "acme/website",
        None,
        6,
        4,
    )
    answer, counts = await summary(get, "teams/ops")
    assert (answer["team"], answer["project"], counts["commits"], counts["deployments"]) == ("ops", None, 2, 4)
    answer, counts = await summary(get, "people/Ann Lee", **JANUARY)
    assert (answer["person"], counts["commits"], counts["time_to_merge"]) == ("Ann Lee", 5, 3)
    assert (answer["from"], answer["to"]) == ("2026-01-05T00:00:00Z", "2026-01-09T00:00:00Z")


async def test_a_person_that_the_map_does_not_know_has_a_summary_too(get):
    _, counts = await summary(get, "people/=Cleo()")
    assert counts["commits"] == 1


async def test_the_four_keys(get):
    assert await get("dora", project=42, from_="2026-01-05", to="2026-01-15") == {
        "from": "2026-01-05T00:00:00Z",
        "to": "2026-01-15T00:00:00Z",
        "time_zone": "UTC",
        "deployments": 4,
        "incidents": 1,
        "deployments_per_day": 0.4,
        "change_failure_rate": 0.25,
        "lead_time_for_changes": 6 * 3600,
        "time_to_restore": 5400,
    }


async def test_the_four_keys_of_a_quiet_time_divide_by_nothing(get):
    quiet = await get("dora", from_="2026-01-15", to="2026-01-15")
    assert [quiet[name] for name in ("deployments_per_day", "change_failure_rate", "time_to_restore")] == [None] * 3
    lately = await get("dora")
    assert lately["deployments_per_day"] == 0


async def test_what_bots_did_can_be_left_out(get, engine):
    bots = [*office.TEAMS, office.Team("", bots=("ben",))]
    await office.people.replace(engine, "test", bots)
    assert cells(await get("metrics/commits", bots="false"), "count") == [(6,)]
    assert cells(await get("metrics/commits"), "count") == [(8,)]
