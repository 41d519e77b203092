"""Tokens: without one there is nothing, with one for teams there are these teams."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_service.store import tables, tokens
from harness import office
from harness.query_api import client_of, problem

PATHS = (
    *("metrics", "metrics/commits", "projects", "projects/42", "projects/42/summary", "teams", "teams/web/summary"),
    *("people", "people/Ann%20Lee/summary", "people/unmatched", "dora", "backfills", "live"),
)


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_token_nothing_is_told(engine, path):
    async with client_of(engine, tokens_required=True) as client:
        answer = await client.get(path)
        assert "Authorization: Bearer" in problem(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="gitpulse"'
        for wrong in ("Bearer gpt_wrong", "Bearer  ", "Bearer \xff"):
            answer = await client.get(path, headers={"authorization": wrong.encode("latin-1")})
            problem(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="gitpulse", error="invalid_token"'


async def test_a_wrong_token_is_refused_where_none_is_needed(client):
    problem(await client.get("projects", headers={"authorization": "Bearer gpt_wrong"}), 401)


async def test_a_token_for_all_sees_all(showing):
    client = await showing(None)
    for path in PATHS[:-1]:
        assert (await client.get(path)).status_code == 200, path


async def test_a_token_ends_and_is_revoked(showing, engine):
    over = await showing(None, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    problem(await over.get("projects"), 401)
    client = await showing(["web"], expires_at=datetime.now(UTC) + timedelta(days=1))
    assert (await client.get("projects")).status_code == 200
    await tokens.revoke(engine, "['web']")
    problem(await client.get("projects"), 401)


async def figure(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return [(row["group"], row["count"]) for row in answer.json()["items"]]


async def test_a_token_of_a_team_counts_that_team_alone(showing):
    client = await showing(["ops"])
    assert await figure(client, "metrics/commits") == [(None, 2)]
    assert await figure(client, "metrics/commits?group_by=person") == [("Ben Okafor", 2)]
    assert await figure(client, "metrics/commits?group_by=team") == [("ops", 2)]
    assert await figure(client, "metrics/commits?person=Ben Okafor&group_by=team") == [("ops", 2)]
    summary = (await client.get("projects/42/summary")).json()
    assert summary["team"] == "ops"
    assert {it["metric"]: it["count"] for it in summary["items"]}["commits"] == 1
    dora = (await client.get("dora?from=2026-01-01&to=2026-02-01")).json()
    assert (dora["deployments"], dora["incidents"]) == (4, 0)


async def test_a_token_of_a_team_sees_its_people_and_projects(showing):
    client = await showing(["ops"])
    assert [it["name"] for it in (await client.get("teams")).json()["items"]] == ["ops"]
    assert (await client.get("people")).json()["items"] == [{"name": "Ben Okafor", "teams": ["ops"]}]
    assert [it["path"] for it in (await client.get("projects")).json()["items"]] == ["acme/api", "acme/website"]


async def test_other_teams_projects_are_not_there(showing, engine):
    client = await showing(["ops"])
    async with engine.begin() as connection:
        row = {"path": "secret/plan", "last_event_at": office.START, "gitlab_id": 44, "instance": office.GITLAB}
        await office.put(connection, tables.project, id=44, **row)
    assert "secret" not in (await client.get("projects")).text
    for path in (
        "projects/44",
        "projects/44/summary",
        "metrics/commits?project=44",
        "metrics/commits?project=secret/plan",
    ):
        problem(await client.get(path), 404)


@pytest.mark.parametrize(
    "path",
    [
        "metrics/commits?team=web",
        "metrics/commits?team=nowhere",
        "metrics/commits?person=Ann%20Lee",
        "metrics/commits?person=Ann%20Lee&team=ops",
        "metrics/commits?person=Nobody",
        "teams/web/summary",
        "people/Ann%20Lee/summary",
        "people/%3DCleo()/summary",
        "dora?team=web",
        "people/unmatched",
        "backfills",
    ],
)
async def test_other_teams_are_not_told_of(showing, path):
    problem(await (await showing(["ops"])).get(path), 403)


async def test_a_token_of_two_teams_is_asked_which(showing):
    client = await showing(["ops", "web"])
    assert "add team= with one of them" in problem(await client.get("metrics/commits"), 403)
    assert await figure(client, "metrics/commits?team=web") == [(None, 7)]
    problem(await client.get("projects/42/summary"), 403)
    assert (await client.get("projects/42/summary?team=web")).json()["team"] == "web"
    assert await figure(client, "metrics/commits?person=Ann%20Lee") == [(None, 5)]
    assert [it["name"] for it in (await client.get("teams")).json()["items"]] == ["ops", "web"]
