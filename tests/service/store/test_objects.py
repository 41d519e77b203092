"""What is behind numbers: as many objects as the number says, each where GitLab has it."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gitpulse_service.store import objects, tables
from gitpulse_service.store.facts import METRICS
from gitpulse_service.store.queries import distribution, series, totals
from gitpulse_service.store.spans import Span
from harness.company import (
    ANN,
    BEN,
    BOT,
    CLEO,
    MONDAY,
    STRANGER,
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

EVER = Span(MONDAY - timedelta(days=1), MONDAY + timedelta(days=7))
WEB = "https://gitlab.example.com/acme/website"


@pytest.fixture
async def company(engine):
    """Something of every kind."""
    await insert(
        engine,
        {
            tables.push: [
                push("main", "a", "b", received_at=at(9)),
                push("topic", "0" * 40, "c", received_at=at(10), who=BEN, forced=1),
                push("topic", "c", "0" * 40, received_at=at(11), who=BOT),
                {**push("x", "0" * 40, "d", received_at=at(9)), "ref": "refs/tags/v1.0"},
            ],
            tables.commit: [
                commit("b" * 40, committed_at=at(8), added=2, modified=1),
                commit("c" * 40, committed_at=at(9), author=BEN, modified=3),
            ],
            tables.merge_request: [
                mr(1, iid=11, state="merged", created_at=at(9), merged_at=at(10), deployed_at=at(12)),
                mr(2, iid=12, state="merged", created_at=at(9), merged_at=at(15), author=BEN),
                mr(3, iid=13, created_at=at(8)),
                mr(4, iid=14, state="closed", created_at=at(8), closed_at=at(9), author=STRANGER),
            ],
            tables.review: [
                review(1, BEN, at(9, 30)),
                review(1, CLEO, at(9, 45)),
                review(2, ANN, at(10)),
                review(2, BOT, at(9)),
                review(2, BEN, at(9)),
            ],
            tables.issue: [
                issue(5, iid=21, created_at=at(9), labels='["bug"]', state="closed", closed_at=at(11)),
                issue(6, iid=22, type="Incident", created_at=at(9), state="closed", closed_at=at(10)),
            ],
            tables.reopening: [{"issue": 5, "reopened_at": at(10), "who": BEN}],
            tables.pipeline: [
                pipeline(100, duration=60, queued_duration=5, status="failed", finished_at=at(9)),
                pipeline(101, duration=90, queued_duration=2, who=BOT, finished_at=at(10)),
            ],
            tables.job: [
                job(1, pipeline=100, status="failed", duration=5, finished_at=at(9)),
                job(2, pipeline=100, status="success", duration=6, finished_at=at(9, 5), who=BEN),
                job(3, pipeline=101, status="failed", duration=7, finished_at=at(9)),
                job(4, pipeline=101, status="failed", name="lint", duration=7, finished_at=at(9)),
                job(5, pipeline=101, status="success", name="lint", duration=7, finished_at=at(9)),
                job(6, pipeline=102, status="failed", name="lint", duration=7, finished_at=at(9)),
                job(7, pipeline=102, status="success", name="lint", duration=7, finished_at=at(9)),
            ],
            tables.deployment: [
                {"id": 1, "tier": "production", "environment": "live", "who": ANN, "succeeded_at": at(12)}
            ],
            tables.release: [{"tag": "v1.0", "created_at": at(9), "released_at": at(9), "name": "One"}],
        },
    )
    async with engine.begin() as connection:
        await connection.execute(
            sa.update(tables.project).where(tables.project.c.id == 1).values(path="acme/website", web_url=WEB)
        )
    return engine


def urls(facts):
    return [it.url and it.url.removeprefix(f"{WEB}/-/") for it in facts]


@pytest.mark.parametrize("whose", [{"bots": False, "team": "web"}, {"person": "Ben", "projects": [1]}, {}])
async def test_as_many_are_behind_a_number_as_it_says(company, whose):
    numbers = await totals(company, METRICS, EVER, **whose)
    for metric in set(METRICS) - {"branches_active"}:
        found = await objects.behind(company, metric, EVER, **whose)
        assert len(found) == numbers[metric].count, metric
        assert all(it.url for it in found if it.title != "topic")
        if METRICS[metric].labels:
            for point in await series(company, metric, EVER, group="label", **whose):
                label = None if point.group is None else str(point.group)
                if label is not None:
                    assert len(await objects.behind(company, metric, EVER, label=label, **whose)) == point.count


async def test_each_leads_to_gitlab(company):
    places = {
        "commits": ["commit/" + "c" * 40, "commit/" + "b" * 40],
        "pushes": [None, "commit/c", "commit/b"],
        "tags_created": ["commit/d"],
        "time_to_merge": ["merge_requests/12", "merge_requests/11"],
        "reviews": ["merge_requests/12", "merge_requests/11", "merge_requests/11"],
        "issues_reopened": ["issues/21"],
        "time_to_restore": ["issues/22"],
        "pipeline_duration": ["pipelines/101", "pipelines/100"],
        "deployments": ["environments?search=live"],
        "releases": ["releases/v1.0"],
    }
    assert {metric: urls(await objects.behind(company, metric, EVER)) for metric in places} == places


async def test_the_largest_come_first_where_they_are_asked_for(company):
    found = await objects.behind(company, "time_to_merge", EVER, largest=True, limit=1)
    assert [(it.title, it.who, it.value, it.project) for it in found] == [("!12", "Ben", 21600, "acme/website")]
    open_at_eleven = await objects.behind(company, "merge_requests_open", Span(None, at(11)), largest=True)
    assert [(it.title, it.value) for it in open_at_eleven] == [("!13", 10800), ("!12", 7200)]


async def test_who_reviewed_whose_adds_up_to_both_sides(company):
    found = await objects.reviewed(company, EVER)
    assert sorted(found) == [("Ann", "Ben", 1), ("Ben", "Ann", 1), ("Cleo", "Ann", 1)]
    for group, place in (("person", 0), ("label", 1)):
        for point in await series(company, "reviews", EVER, group=group):
            assert sum(it[2] for it in found if it[place] == point.group) == point.count
    assert await objects.reviewed(company, EVER, team="api", person="Cleo") == [("Cleo", "Ann", 1)]
    assert await objects.reviewed(company, Span(at(12), at(13))) == []


async def test_a_job_is_flaky_that_failed_and_succeeded_in_one_pipeline(company):
    found = await objects.flaky(company, EVER)
    assert [(it.stage, it.name, it.pipelines, it.failures) for it in found] == [
        ("test", "lint", 2, 2),
        ("test", "unit", 1, 1),
    ]
    assert [it.url for it in found] == [f"{WEB}/-/jobs/6", f"{WEB}/-/jobs/1"]
    assert [it.name for it in await objects.flaky(company, EVER, limit=1)] == ["lint"]
    assert await objects.flaky(company, EVER, projects=[2]) == []
    assert await objects.flaky(company, Span(at(9, 1), at(10))) == []


async def test_the_values_of_a_metric(company):
    assert await distribution(company, "time_to_merge", EVER) == [(3600, 1), (21600, 1)]
    assert await distribution(company, "time_to_merge", EVER, person="Ben") == [(21600, 1)]
    assert await distribution(company, "time_to_merge", Span(at(20), at(21))) == []


async def test_no_page_of_another_scheme_is_linked(company):
    async with company.begin() as connection:
        await connection.execute(sa.update(tables.project).values(web_url="javascript:alert(1)//"))
    assert urls(await objects.behind(company, "time_to_merge", EVER)) == [None, None]
