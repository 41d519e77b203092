"""The query API over both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI

from gitpulse_service.events.decode import decode
from gitpulse_service.metrics_api import create_router
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.write import apply
from harness.processes import free_port
from harness.samples import INSTANCE, body, envelope

NAMES = [
    *("push/two_commits", "push/force_push", "merge_request/open", "merge_request/merge", "issue/open", "issue/close"),
    *("pipeline/failed", "pipeline/success"),
]
PROJECT = {
    "id": 42,
    "path": "acme/website",
    "name": "Website",
    "instance": INSTANCE,
    "web_url": f"{INSTANCE}/acme/website",
    "last_event_at": "2026-01-31T22:53:20Z",
}
SUMMARY = "/api/v1/projects/42/summary"


def client_of(engine):
    app = FastAPI()
    app.include_router(create_router(engine))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gitpulse")


@pytest.fixture
async def client(engine) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a store that has counted the samples."""
    envelopes = [envelope(body(name), delivery_id=name) for name in NAMES]
    await apply(engine, [(e, decode(e)) for e in envelopes])
    async with client_of(engine) as client:
        yield client


async def get(client, path, **parameters):
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client, status, path=SUMMARY, **parameters):
    answer = await client.get(path, params=parameters)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    return problem["detail"]


async def test_the_projects(client):
    assert await get(client, "/api/v1/projects") == {"projects": [PROJECT]}


async def test_a_summary_of_all_time(client):
    assert await get(client, SUMMARY) == {
        "project": PROJECT,
        "from": None,
        "to": None,
        "pushes": 2,
        "commits": {
            "total": 3,
            "authors": [
                {"name": "Zoë Ångström", "email": "zoe@acme.example", "commits": 2},
                {"name": "Ben Okafor", "email": "ben@acme.example", "commits": 1},
            ],
        },
        "merge_requests": {"opened": 1, "merged": 1, "closed": 0},
        "issues": {"opened": 1, "closed": 1},
        "pipelines": {"total": 1, "success": 1, "failed": 0, "canceled": 0, "skipped": 0},
    }


async def test_a_span_holds_its_start_and_not_its_end(client):
    moment = "2026-01-31T18:03:54Z"  # the merge
    inside = await get(client, SUMMARY, **{"from": moment})
    before = await get(client, SUMMARY, to=moment)
    assert (inside["merge_requests"]["merged"], before["merge_requests"]["merged"]) == (1, 0)
    assert (inside["from"], inside["to"]) == (moment, None)


async def test_each_count_goes_by_its_own_time(client):
    day = await get(client, SUMMARY, **{"from": "2026-01-31", "to": "2026-02-01"})
    assert (day["issues"], day["commits"]["total"], day["pushes"]) == ({"opened": 0, "closed": 1}, 3, 2)
    night = await get(client, SUMMARY, **{"from": "2026-01-31T22:00:00 01:00"})  # the + that nobody encoded
    assert (night["from"], night["pushes"], night["commits"]["total"]) == ("2026-01-31T21:00:00Z", 2, 0)


@pytest.mark.parametrize("path", ["acme/website", quote("acme/website", safe="")])
async def test_a_project_is_found_by_its_path(client, path):
    assert (await get(client, f"/api/v1/projects/{path}/summary"))["project"] == PROJECT


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"from": "yesterday"}, "from must be an ISO 8601 date or time, such as 2026-01-31"),
        ({"to": "2026-02-30"}, "to must be an ISO 8601"),
        ({"to": "0001-01-01T00:00:00+01:00"}, "to must be an ISO 8601"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from must not be later than to"),
    ],
)
async def test_a_bad_date_is_a_problem_that_says_what_is_right(client, parameters, says):
    assert says in await refused(client, 400, **parameters)


@pytest.mark.parametrize("name", ["43", "acme/other", "9" * 30, "²"])
async def test_an_unknown_project_is_not_found(client, name):
    assert name in await refused(client, 404, f"/api/v1/projects/{name}/summary")


async def test_two_instances_with_the_same_project_are_asked_which(client, engine):
    other = envelope(body("push/minimal"), instance="https://other.example", hook_id="hook-2")
    await apply(engine, [(other, decode(other))])
    detail = await refused(client, 409)
    assert "?instance=" in detail
    assert "https://other.example" in detail
    assert (await get(client, SUMMARY, instance="https://other.example/"))["pushes"] == 1
    assert (await get(client, SUMMARY, instance=INSTANCE))["pushes"] == 2


async def test_a_database_that_is_away_is_503_and_names_no_host():
    engine = create_engine(f"postgresql://me:hunter2@127.0.0.1:{free_port()}/numbers")
    async with client_of(engine) as client:
        answer = await client.get("/api/v1/projects")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "127.0.0.1" not in answer.text
    await engine.dispose()


async def test_the_schema_describes_every_answer(client):
    app = FastAPI()
    app.include_router(create_router(create_engine("sqlite:///unused")))
    operation = app.openapi()["paths"]["/api/v1/projects/{project}/summary"]["get"]
    assert {"200", "400", "404", "409", "503"} <= set(operation["responses"])
    assert [p["name"] for p in operation["parameters"]] == ["project", "from", "to", "instance"]
