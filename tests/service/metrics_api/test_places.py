"""What there is: projects, teams, people, hooks, backfills, page by page."""

from __future__ import annotations

import httpx2
import pytest

from gitpulse_service.errors import LogUnavailable
from gitpulse_service.store import keys, tables, tokens
from gitpulse_service.store.engine import create_engine
from harness import office
from harness.processes import free_port
from harness.query_api import application, client_of, problem

WEBSITE = {
    "id": 42,
    "path": "acme/website",
    "name": "Website",
    "instance": office.GITLAB,
    "web_url": f"{office.GITLAB}/acme/website",
    "last_event_at": "2026-01-05T09:00:00Z",
}


async def test_projects_come_by_path(get):
    answer = await get("projects")
    assert [it["path"] for it in answer["items"]] == ["acme/api", "acme/website"]
    assert (answer["items"][1], answer["next"]) == (WEBSITE, None)


@pytest.mark.parametrize("name", ["42", "acme/website", "acme%2Fwebsite"])
async def test_a_project_is_found_by_its_id_and_path(get, name):
    assert await get(f"projects/{name}") == WEBSITE


@pytest.mark.parametrize("name", ["44", "acme/other", "9" * 19, pytest.param("9" * 5000, id="long"), "²"])
async def test_an_unknown_project_is_not_found(refused, name):
    assert name in await refused(404, f"projects/{name}")


async def test_two_instances_with_the_same_project_are_asked_which(get, refused, engine):
    other = "https://other.example"
    async with engine.begin() as connection:
        row = {"path": "acme/website", "last_event_at": office.START, "gitlab_id": 42, "instance": other}
        await office.put(connection, tables.project, id=keys.project(other, 42), **row)
        await office.put(
            connection, tables.push, project=keys.project(other, 42), ref="refs/heads/r", before="b", after="a",
            received_at=office.START,
        )  # fmt: skip
    for path in ("projects/42/summary", "projects/42", "metrics/pushes?project=42"):
        assert f"add instance= with one of: {office.GITLAB}, {other}" in await refused(409, path)
    assert (await get("projects/42", instance=f"{other}/"))["instance"] == other
    groups = [row["group"] for row in (await get("metrics/pushes", group_by="project"))["items"]]
    assert groups == [f"{other}/acme/website"]


async def test_teams_have_members(get):
    assert (await get("teams"))["items"] == [
        {"name": "ops", "time_zone": "UTC", "members": ["Ben Okafor"]},
        {"name": "web", "time_zone": "Europe/Berlin", "members": ["Ann Lee", "Ben Okafor"]},
    ]


async def test_people_have_teams(get, engine):
    await office.people.replace(engine, "more", [office.Team("", (office.Person("Dora Novak"),))])
    assert (await get("people"))["items"] == [
        {"name": "Ann Lee", "teams": ["web"]},
        {"name": "Ben Okafor", "teams": ["ops", "web"]},
        {"name": "Dora Novak", "teams": []},
    ]


async def test_who_matches_nobody_is_listed(get):
    assert (await get("people/unmatched"))["items"] == [
        {"name": "=Cleo()", "email": None, "username": "=cl", "commits": 1, "other": 0, "suggestions": {}}
    ]


async def test_backfills_tell_how_far_they_are(engine):
    async def backfills():
        return [{"name": "project/42", "state": "Running", "done": 7}]

    async with client_of(engine, backfills=backfills) as client:
        assert (await client.get("backfills")).json()["items"] == await backfills()


def hook(path, **more):
    place = {"resource": f"default/{path}", "path": f"acme/{path}", "instance": office.GITLAB, "kind": "Project"}
    said = dict.fromkeys(("hook", "url", "last_delivery_at", "last_refused_at", "refused_reason"))
    return {**place, **said, "state": "new", "reason": "", "message": "", "secret": {}, "revivals": {}, "repair": {}}


async def test_hooks_are_shown_to_whom_their_projects_are(engine):
    async def hooks():
        return [hook("website"), hook("api"), hook("nobodys")]

    async with client_of(engine, hooks=hooks) as client:
        assert [it["path"] for it in (await client.get("hooks")).json()["items"]] == [
            "acme/api",
            "acme/nobodys",
            "acme/website",
        ]
    await office.settle(engine)
    token = await tokens.create(engine, "a", ["ops"], None)
    async with client_of(engine, tokens_required=True, hooks=hooks) as client:
        answer = await client.get("hooks", headers={"Authorization": f"Bearer {token}"})
        seen = {it["path"] for it in answer.json()["items"]}
        mine = await client.get("projects", headers={"Authorization": f"Bearer {token}"})
        assert seen == {it["path"] for it in mine.json()["items"]} != set()


async def test_a_redis_that_is_away_is_503(engine):
    async def backfills():
        raise LogUnavailable("redis://10.0.0.7 is away")

    async with client_of(engine, backfills=backfills) as client:
        assert "10.0.0.7" not in problem(await client.get("backfills"), 503)


async def test_a_defect_is_a_problem_too(engine):
    async def backfills():
        return [{"no": "name"}]

    transport = httpx2.ASGITransport(application(engine, backfills=backfills), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gitpulse/api/v1/") as client:
        assert "defect" in problem(await client.get("backfills"), 500)


@pytest.mark.parametrize("path", ["people/%00/summary", "teams/%00/summary", "projects/%00"])
async def test_a_name_that_no_database_takes_is_no_error_of_ours(client, path):
    problem(answer := await client.get(path), answer.status_code)
    assert answer.status_code in (404, 422)


async def test_a_list_is_read_page_by_page(client):
    seen, url = [], "metrics?limit=10"
    while url:
        answer = await client.get(url)
        seen += [it["name"] for it in answer.json()["items"]]
        assert len(answer.json()["items"]) <= 10
        assert ("link" in answer.headers) == (answer.json()["next"] is not None)
        url = f"http://gitpulse{answer.links['next']['url']}" if "link" in answer.headers else None
    assert seen == sorted(seen)
    assert seen == [it["name"] for it in (await client.get("metrics")).json()["items"]]


async def test_pages_of_a_series_go_on_where_the_last_one_ended(client):
    whole = (await client.get("metrics/commits?group_by=person&bucket=day&from=2026-01-05&to=2026-01-09")).json()[
        "items"
    ]
    pages = [await client.get("metrics/commits?group_by=person&bucket=day&from=2026-01-05&to=2026-01-09&limit=2")]
    while cursor := pages[-1].json()["next"]:
        pages.append(await client.get(pages[-1].url.copy_merge_params({"cursor": cursor})))
    assert len(pages) == (len(whole) + 1) // 2
    assert [row for page in pages for row in page.json()["items"]] == whole


async def test_what_comes_in_between_shifts_no_page(client, engine):
    first = await client.get("projects?limit=1")
    async with engine.begin() as connection:
        row = {"path": "aaa/first", "last_event_at": office.START, "gitlab_id": 1, "instance": office.GITLAB}
        await office.put(connection, tables.project, id=1, **row)
    second = await client.get(f"http://gitpulse{first.links['next']['url']}")
    assert [it["path"] for page in (first, second) for it in page.json()["items"]] == ["acme/api", "acme/website"]


async def test_a_database_that_is_away_is_503_and_names_no_host():
    engine = create_engine(f"postgresql://me:hunter2@127.0.0.1:{free_port()}/numbers")
    async with client_of(engine) as client:
        answer = await client.get("projects")
    assert "127.0.0.1" not in problem(answer, 503)
    assert answer.headers["retry-after"] == "5"
    await engine.dispose()
