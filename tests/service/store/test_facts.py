"""Every metric of docs/metrics.md, with the example that stands there, on both databases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitpulse_service.store import tables
from gitpulse_service.store.facts import METRICS, ZEROS
from gitpulse_service.store.queries import series
from gitpulse_service.store.spans import Span
from harness.company import (
    ANN,
    BEN,
    BOT,
    CLEO,
    MONDAY,
    at,
    commit,
    insert,
    issue,
    job,
    mr,
    pipeline,
    push,
    review,
)

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
ZERO = ZEROS[0]
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (MONDAY + timedelta(days=i) for i in range(1, 5))


ALL = Span()


@dataclass
class Example:
    """Rows, and what is to be answered: by group, the count, or count and sum."""

    rows: Mapping[Any, Sequence[dict[str, Any]]]
    answer: Mapping[Any, Any]
    ask: Mapping[str, Any] = field(default_factory=dict)
    span: Span = ALL


REOPENED = {"created_at": MONDAY, "closed_at": TUESDAY, "merged_at": THURSDAY, "state": "merged"}
REVIEWED = {
    tables.merge_request: [mr(1, author=ANN, created_at=at(9))],
    tables.review: [
        review(1, ANN, at(9, 10)),
        review(1, BEN, at(10)),
        review(1, CLEO, at(10, 30)),
        review(1, BOT, at(9, 2)),
    ],
}
CLOSED_TWICE = {
    tables.issue: [issue(1, author=ANN, created_at=MONDAY, state="closed", closed_at=FRIDAY)],
    tables.reopening: [{"project": 1, "issue": 1, "reopened_at": WEDNESDAY, "who": BEN}],
}
LABELLED = {
    tables.issue: [
        issue(1, labels='["bug", "wish"]', created_at=MONDAY, state="closed", closed_at=FRIDAY),
        issue(2, labels="[]", created_at=MONDAY),
        issue(3, created_at=MONDAY),
    ]
}
RATE = {
    tables.pipeline: [pipeline(i, status=it) for i, it in enumerate(["success"] * 3 + ["failed"] + ["canceled"] * 2)]
}
UNIT = {"stage": "test", "name": "unit"}
DEPLOYED = {
    tables.merge_request: [mr(1, author=ANN, created_at=at(8), merged_at=at(9), deployed_at=at(9, 45), state="merged")],
    tables.deployment: [
        {
            "id": 1,
            "environment": "live",
            "tier": "production",
            "who": BEN,
            "status": "success",
            "succeeded_at": at(9, 45),
        },
        {"id": 2, "environment": "live", "tier": "production", "who": BEN, "status": "success", "succeeded_at": at(11)},
        {"id": 3, "environment": "live", "tier": "production", "who": BEN, "status": "failed"},
        {"id": 4, "environment": "test", "tier": "testing", "who": BEN, "status": "success", "succeeded_at": at(9, 5)},
    ],
}
INCIDENT = {tables.issue: [issue(1, type="Incident", created_at=at(10), state="closed", closed_at=at(11, 30))]}

EXAMPLES = {
    "pushes": Example({tables.push: [push("main", "a", "c"), push("main", ZERO, ZERO, ref="refs/tags/v1")]}, {None: 1}),
    "force_pushes": Example(
        {
            tables.push: [
                push("topic", "b", "b2", forced=1),
                push("topic", "b2", "c", forced=0),
                push("topic", "c", "d", forced=0),
                push("topic", "x", "y"),
            ]
        },
        {None: 1},
    ),
    "branches_created": Example(
        {tables.push: [push("x", ZERO, "a"), push("x", "a", ZERO), push("x", "a", "b")]}, {None: 1}
    ),
    "branches_deleted": Example({tables.push: [push("x", "0" * 64, "a"), push("x", "a", "0" * 64)]}, {None: 1}),
    "branches_active": Example(
        {
            tables.push: [
                *(push("main", str(i), str(i + 1)) for i in range(3)),
                push("topic", ZERO, "1"),
                push("old", "1", ZERO),
                push("main", "1", "2", project=2),
            ]
        },
        {1: 2, 2: 1},
        {"group": "project"},
    ),
    "tags_created": Example(
        {
            tables.push: [
                push("", ZERO, "a", ref="refs/tags/v1.0"),
                push("", "a", ZERO, ref="refs/tags/v1.0"),
                push("", ZERO, "b", ref="refs/tags/v1.0"),
            ]
        },
        {None: 2},
    ),
    "commits": Example(
        {
            tables.commit: [
                *(commit(it) for it in "bcm"),
                commit("lost", seen_at=at(9), lost_at=at(10)),
                commit("lost with its push", seen_at=at(10), lost_at=at(10)),
                commit("found", seen_at=at(11), lost_at=at(10)),
                commit("b", project=2),
            ]
        },
        {1: 4, 2: 1},
        {"group": "project"},
    ),
    "commit_hours": Example(
        {
            tables.commit: [
                commit("a", committed_at=datetime.fromisoformat("2026-01-31T18:45:47+01:00"), utc_offset=60),
                commit("b", committed_at=datetime.fromisoformat("2026-02-02T00:00:00-09:30"), utc_offset=-570),
                commit("c", committed_at=datetime.fromisoformat("2026-02-01T23:59:59+05:45"), utc_offset=345),
                commit("d", committed_at=datetime.fromisoformat("1969-12-28T23:59:59+00:00"), utc_offset=0),
                commit("e", committed_at=None, utc_offset=None),
            ]
        },
        {138: 1, 0: 1, 167: 2, None: 1},
        {"group": "label"},
    ),
    "files": Example(
        {
            tables.commit: [
                commit("a", added=0, modified=2, removed=1),
                commit("b"),
                commit("c", added=9, lost_at=FRIDAY),
            ]
        },
        {"modified": (1, 2), "removed": (1, 1)},
        {"group": "label"},
    ),
    "merge_requests_opened": Example(
        {tables.merge_request: [mr(1, **REOPENED)]}, {None: 1}, span=Span(MONDAY, TUESDAY)
    ),
    "merge_requests_merged": Example(
        {tables.merge_request: [mr(1, **REOPENED)]}, {None: 1}, span=Span(THURSDAY, FRIDAY)
    ),
    "merge_requests_closed": Example(
        {tables.merge_request: [mr(1, **REOPENED), mr(2, state="closed", closed_at=TUESDAY, project=2)]},
        {2: 1},
        {"group": "project"},
    ),
    "time_to_merge": Example(
        {tables.merge_request: [mr(1, created_at=at(9), merged_at=at(15)), mr(2, created_at=at(9))]},
        {None: (1, 21_600)},
    ),
    "time_to_first_review": Example(REVIEWED, {"Ann": (1, 3_600)}, {"group": "person"}),
    "reviews": Example(REVIEWED, {"Ben": 1, "Cleo": 1}, {"group": "person"}),
    "merge_requests_open": Example(
        {
            tables.merge_request: [
                mr(1, created_at=MONDAY),
                mr(2, created_at=MONDAY, state="merged", merged_at=TUESDAY),
                mr(3, created_at=MONDAY, state="closed", closed_at=TUESDAY),
                mr(4, created_at=WEDNESDAY),
                mr(5, created_at=MONDAY, state="merged"),
            ]
        },
        {None: (1, 172_800)},
        span=Span(TUESDAY, WEDNESDAY),
    ),
    "issues_opened": Example(CLOSED_TWICE, {"Ann": 1}, {"group": "person"}, Span(MONDAY, TUESDAY)),
    "issues_closed": Example(CLOSED_TWICE, {"Ann": 1}, {"group": "person"}, Span(FRIDAY, None)),
    "issues_reopened": Example(CLOSED_TWICE, {"Ben": 1}, {"group": "person"}, Span(WEDNESDAY, THURSDAY)),
    "time_to_close": Example(CLOSED_TWICE, {None: (1, 345_600)}),
    "issues_opened_by_label": Example(LABELLED, {"bug": 1, "wish": 1}, {"group": "label"}, Span(MONDAY, TUESDAY)),
    "issues_closed_by_label": Example(LABELLED, {"bug": 1, "wish": 1}, {"group": "label"}, Span(FRIDAY, None)),
    "pipelines": Example(
        {tables.pipeline: [pipeline(1, created_at=at(10), status="success", finished_at=at(10, 10))]},
        {"success": 1},
        {"group": "label"},
        Span(at(10), at(10, 1)),
    ),
    "pipeline_duration": Example(
        {tables.pipeline: [pipeline(1, duration=300, queued_duration=30), pipeline(2, duration=5, finished_at=None)]},
        {None: (1, 300)},
    ),
    "pipeline_queue_time": Example({tables.pipeline: [pipeline(1, duration=300, queued_duration=30)]}, {None: (1, 30)}),
    "pipeline_success_rate": Example(RATE, {None: (4, 3)}),
    "time_to_green": Example(
        {
            tables.pipeline: [
                *(
                    pipeline(i, status=status, finished_at=at(*moment), who=ANN if i == 2 else BEN)
                    for i, (status, moment) in enumerate(
                        [("failed", (10,)), ("failed", (10, 20)), ("success", (10, 30)), ("success", (11,))]
                    )
                ),
                pipeline(8, status="canceled", finished_at=at(9)),
                pipeline(9, status="failed", finished_at=at(9), ref="topic"),
                pipeline(10, status="failed", finished_at=at(12)),
                pipeline(11, status="success", finished_at=at(13), project=2),
            ]
        },
        {"Ann": (1, 1_800)},
        {"group": "person"},
        Span(at(10, 30), at(10, 31)),
    ),
    "jobs": Example(
        {tables.job: [job(1, status="failed", **UNIT), job(2, status="success", **UNIT)]},
        {"failed": 1, "success": 1},
        {"group": "label"},
    ),
    "job_duration": Example(
        {tables.job: [job(1, duration=61, queued_duration=2, **UNIT)]}, {"test/unit": (1, 61)}, {"group": "label"}
    ),
    "job_queue_time": Example(
        {tables.job: [job(1, duration=61, queued_duration=2, **UNIT)]}, {"test/unit": (1, 2)}, {"group": "label"}
    ),
    "job_success_rate": Example(
        {tables.job: [job(i, status="success" if i else "failed", **UNIT) for i in range(10)]},
        {"test/unit": (10, 9)},
        {"group": "label"},
    ),
    "deployments": Example(DEPLOYED, {"live": 2}, {"group": "label"}),
    "lead_time_for_changes": Example(DEPLOYED, {"Ann": (1, 2_700)}, {"group": "person"}, Span(at(9, 45), at(9, 46))),
    "incidents_opened": Example(INCIDENT, {None: 1}),
    "time_to_restore": Example(INCIDENT, {None: (1, 5_400)}),
    "releases": Example(
        {
            tables.release: [
                {"tag": "v1.0", "created_at": MONDAY, "released_at": MONDAY},
                {"tag": "v1.1", "created_at": MONDAY, "released_at": MONDAY, "deleted": 1},
            ]
        },
        {None: 1},
    ),
}


def test_each_metric_is_defined_and_each_definition_is_a_metric():
    headings = re.findall(r"^### (.*)$", PAGE.read_text(), re.MULTILINE)
    assert [name for heading in headings for name in heading.split(", ")] == sorted(METRICS, key=_place(headings))
    assert set(EXAMPLES) == set(METRICS)


def _place(headings):
    order = [name for heading in headings for name in heading.split(", ")]
    return lambda name: order.index(name) if name in order else -1


@pytest.mark.parametrize("metric", sorted(EXAMPLES))
async def test_the_example_of_its_definition(engine, metric):
    example = EXAMPLES[metric]
    await insert(engine, example.rows)
    points = await series(engine, metric, example.span, **example.ask)
    assert {p.group: p.count if p.sum is None else (p.count, p.sum) for p in points} == example.answer


async def test_of_two_reviews_in_one_second_one_is_the_first(engine):
    both = [review(1, who, at(10)) for who in (BEN, CLEO)]
    await insert(engine, {tables.merge_request: [mr(1, created_at=at(9))], tables.review: both})
    assert [(p.count, p.sum) for p in await series(engine, "time_to_first_review", Span())] == [(1, 3_600)]


async def test_what_has_the_same_number_on_another_gitlab_is_something_else(engine):
    other = {"project": 2}
    rows = {
        tables.merge_request: [mr(1, author=ANN, created_at=at(9)), mr(1, author=BEN, created_at=at(9)) | other],
        tables.review: [review(1, BEN, at(10)), review(1, CLEO, at(9, 30)) | other],
        tables.issue: [issue(1, created_at=MONDAY), issue(1, created_at=MONDAY) | other],
        tables.reopening: [{"issue": 1, "reopened_at": WEDNESDAY, "who": BEN} | other],
    }
    await insert(engine, rows)
    first = await series(engine, "time_to_first_review", Span(), group="project")
    assert {p.group: p.sum for p in first} == {1: 3_600, 2: 1_800}
    for metric, answer in {"reviews": {1: 1, 2: 1}, "issues_reopened": {2: 1}}.items():
        assert {p.group: p.count for p in await series(engine, metric, Span(), group="project")} == answer


@pytest.mark.parametrize("metric", ["issues_closed", "time_to_close", "issues_closed_by_label"])
async def test_an_issue_that_was_opened_again_is_not_closed(engine, metric):
    again = issue(1, created_at=MONDAY, closed_at=FRIDAY, labels='["bug"]', state="opened")
    await insert(engine, {tables.issue: [again]})
    assert await series(engine, metric, Span()) == []


async def test_a_reopening_that_a_list_dates_a_moment_later_is_one(engine):
    seconds = [{"issue": 1, "reopened_at": at(10, 0, it), "who": BEN} for it in (0, 1, 8)]
    await insert(engine, {tables.issue: [issue(1), issue(2)], tables.reopening: [*seconds, seconds[1] | {"issue": 2}]})
    found = await series(engine, "issues_reopened", Span(), edges=[at(10), at(10, 0, 1), at(11)])
    assert [(p.bucket, p.count) for p in found] == [(0, 1), (1, 2)]


async def test_who_reviewed_whose(engine):
    await insert(engine, REVIEWED)
    (point,) = await series(engine, "reviews", Span(), person="Cleo", group="label")
    assert (point.group, point.count) == ("Ann", 1)


@pytest.mark.parametrize("end", ["merged", "closed"])
async def test_a_merge_request_was_open_before_it_ended(engine, end):
    await insert(engine, {tables.merge_request: [mr(1, created_at=MONDAY, state=end, **{f"{end}_at": WEDNESDAY})]})
    for days, until in ((1, TUESDAY), (2, WEDNESDAY)):  # what ends just then has not ended before
        assert [p.sum for p in await series(engine, "merge_requests_open", Span(None, until))] == [days * 86_400]
    assert await series(engine, "merge_requests_open", Span(None, WEDNESDAY + timedelta(seconds=1))) == []


async def test_without_an_end_what_is_open_is_open_now(engine):
    created = datetime.now(UTC) - timedelta(hours=1)
    await insert(
        engine, {tables.merge_request: [mr(1, created_at=created), mr(2, created_at=created + timedelta(days=9))]}
    )
    (point,) = await series(engine, "merge_requests_open", Span())
    assert point.count == 1
    assert 3_600 <= point.p50 < 4_000
