"""The pages without a browser: who sees what, what browsers are told, and that no name is taken for markup."""

from __future__ import annotations

import contextlib
import csv
import html
import io
import re

import httpx2
import pytest
import sqlalchemy as sa

from gitpulse_service.dashboard import create_dashboard, door
from gitpulse_service.dashboard.headers import ALWAYS
from gitpulse_service.dashboard.pages import STATIC_URL
from gitpulse_service.errors import LogUnavailable
from gitpulse_service.metrics_api import Hub, Parts, models
from gitpulse_service.metrics_api.caller import Caller
from gitpulse_service.store import tables
from harness import office
from harness.definitions import METRICS
from harness.query_api import silence

JANUARY = "from=2026-01-01&to=2026-02-01"


@pytest.fixture
async def open_to(engine):
    """Makes a client of a dashboard for who may see these teams; None: all."""
    await office.settle(engine)
    async with contextlib.AsyncExitStack() as stack:

        async def make(teams=None, **parts):
            stands_on = Parts(engine, False, Hub(silence), **parts)
            app = create_dashboard(stands_on)
            viewer = door.Viewer(Caller(stands_on, teams and frozenset(teams)), "Somebody <b>")
            app.dependency_overrides[door._viewer] = lambda: viewer
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            return await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://here"))

        yield make


async def test_every_answer_is_locked_down(open_to):
    client = await open_to()
    for path in ("/", "/nothing", f"/?{JANUARY}&csv=commits", f"{STATIC_URL}/app.js", "/?x=1"):
        answer = await client.get(path)
        assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS
        kept = "public, max-age=31536000, immutable" if path.startswith(STATIC_URL) else "private, no-cache"
        assert answer.headers["cache-control"] == kept
    assert "'unsafe" not in ALWAYS["Content-Security-Policy"]
    gone = await client.get(f"{STATIC_URL}/none.js")
    assert (gone.status_code, gone.headers["cache-control"]) == (404, "private, no-cache")


async def test_a_defect_is_a_page_that_is_locked_down_too(open_to):
    async def hooks():
        return [{"no": "name"}]

    answer = await (await open_to(hooks=hooks)).get("/hooks")
    assert (answer.status_code, "A defect of GitPulse" in answer.text) == (500, True)
    assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS
    assert answer.headers["cache-control"] == "private, no-cache"


async def test_who_may_see_some_teams_sees_no_more(open_to):
    client = await open_to({"ops"})
    page = (await client.get(f"/?{JANUARY}")).text
    assert 'action="/signout"' in page
    assert 'id="figure-commits" data-live><a href="/behind/commits' in page
    assert '<data value="2">2</data>' in page  # Ben's, not Ann's
    assert "Ann Lee" not in page
    assert "Ann Lee" not in (await client.get("/people")).text
    assert "/teams/web" not in (await client.get("/teams")).text
    for path in ("/?team=web", "/teams/web", "/people/Ann%20Lee", "/behind/commits?team=web"):
        assert (await client.get(path)).status_code == 403
    behind = (await client.get(f"/behind/commits?{JANUARY}")).text
    assert behind.count("/-/commit/") == 2


async def test_who_may_see_several_teams_sees_one_at_a_time(open_to):
    client = await open_to({"web", "ops"})
    assert "Ben Okafor" in (await client.get(f"/people?{JANUARY}")).text
    assert '<data value="7">7</data>' in (await client.get(f"/?{JANUARY}&team=web")).text


async def table(client, path):
    rows = csv.reader(io.StringIO((await client.get(path)).text))
    return {row[0]: row[1] for row in rows if row[1] != "Commits"}


async def test_a_list_has_each_ones_own_numbers_however_many_teams_are_seen(open_to):
    client = await open_to({"web", "ops"})
    assert ">All</option>\n<option selected>ops" not in (await client.get("/teams")).text  # one of them at a time
    assert await table(client, f"/teams?{JANUARY}&csv=team") == {"web": "7", "ops": "2"}
    assert await table(client, f"/people?{JANUARY}&csv=person") == {"Ben Okafor": "2"}  # of ops, as it says above
    all_of_them = await open_to()
    assert await table(all_of_them, f"/teams?{JANUARY}&csv=team") == {"web": "7", "ops": "2", "nobody known": "1"}
    assert await table(all_of_them, f"/teams?{JANUARY}&csv=team&team=ops") == {"ops": "2"}


async def test_bars_are_as_long_as_values_are_large(open_to):
    page = (await (await open_to()).get(f"/people?{JANUARY}")).text
    assert re.findall(r'<rect width="(\d+)"', page) == ["100", "40", "20"]  # 5, 2 and 1


async def test_a_page_keeps_what_it_is_about(open_to):
    client = await open_to()
    path = f"/behind/commits?{JANUARY}&person=Ann+Lee&label=x&largest=true&instance=https://gitlab.example.com"
    page = (await client.get(path)).text
    links = [html.unescape(it) for it in re.findall(r'href="(/behind/commits\?[^"]*)"', page)]
    assert len(links) == 5  # ranges, and a year instead of nothing
    kept = {"person": "Ann Lee", "label": "x", "largest": "true", "instance": "https://gitlab.example.com"}
    for link in links:
        assert kept.items() <= dict(httpx2.URL(link).params).items(), link
    assert dict(re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', page)) == kept
    told = (await client.get(f"/behind/commits?{JANUARY}&person=Ann+Lee")).text
    (link,) = re.findall(r'href="([^"]*csv=facts[^"]*)"', told)
    rows = list(csv.DictReader(io.StringIO((await client.get(html.unescape(link))).text)))
    assert [it["Who"] for it in rows] == ["Ann Lee"] * 5


async def test_names_are_text_and_no_markup(open_to, engine):
    client = await open_to()
    async with engine.begin() as connection:
        evil = '"><script>alert(1)</script>'
        await connection.execute(sa.update(tables.identity).values(name=evil, username=evil, name_key=None))
    for path in ("/", "/people", f"/behind/commits?{JANUARY}", f"/people/{evil}", "/?q=" + evil, f"/?{evil}=1"):
        page = (await client.get(path)).text
        assert "<script>alert" not in page
        assert "Somebody <b>" not in page
    assert "&lt;script&gt;alert" in (await client.get(f"/people?{JANUARY}")).text


async def test_definitions_are_those_of_the_documentation(open_to):
    page = (await (await open_to()).get("/definitions")).text
    assert {name for name in METRICS if f'id="{name}"' not in page} == set()
    assert "<code>[from, to)</code>" in page
    assert "people.md" not in page
    assert "Flaky" in page


async def test_a_spreadsheet_takes_no_name_for_a_formula(open_to):
    client = await open_to()
    assert "'=Cleo()" in (await client.get(f"/people?{JANUARY}&csv=person")).text


async def test_nor_the_name_that_heads_a_column(open_to, engine):
    client = await open_to()
    async with engine.begin() as connection:
        await connection.execute(sa.update(tables.merge_request).values(author=office.CLEO))
        await office.put(
            connection, tables.review, project=office.WEBSITE, merge_request=0, who=office.ANN, at=office.START
        )
    assert (await client.get(f"/merge-requests?{JANUARY}&csv=reviews")).text.splitlines() == [
        "Reviewer ↓ author →,'=Cleo()", "Ann Lee,1",
    ]  # fmt: skip


@pytest.mark.parametrize("asked", ["/?from=0020-01-01", "/behind/commits?from=0001-01-01T00:00Z&tz=America/New_York"])
async def test_years_that_nobody_meant_are_no_defect(open_to, asked):
    assert (await (await open_to()).get(asked)).status_code == 422


async def test_years_before_the_first_are_not_compared_with(open_to):
    page = await (await open_to()).get("/?from=1000-01-01&bucket=year")
    assert (page.status_code, "none before" in page.text) == (200, True)


async def test_a_search_holds_in_any_case(open_to):
    client = await open_to()
    page = (await client.get(f"/people?{JANUARY}&q=LEE")).text
    assert "Ann Lee" in page
    assert "Ben Okafor" not in page


async def test_without_redis_the_numbers_are_there(open_to):
    async def away():
        raise LogUnavailable("Redis is away")

    client = await open_to(hooks=away, health=away)
    page = (await client.get(f"/?{JANUARY}")).text
    assert "Redis does not answer" in page
    assert '<data value="8">8</data>' in page
    assert (await client.get("/hooks")).status_code == 200


HOOK = dict.fromkeys(models.Hook.model_fields) | {
    "resource": "default/website", "reason": "", "message": "Say so.", "instance": office.GITLAB,
    "path": "acme/website", "secret": {}, "revivals": {}, "repair": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"state": "unreachable"}, ["Unreachable", "does not get through", "Say so."]),
        ({"state": "new", "last_delivery_at": "2026-01-05T09:00:00Z"}, ["Delivering", "1 of 1"]),
        ({"state": "of-a-newer-operator"}, ["Not known", "0 of 1"]),
        ({"state": "delivering", "secret": {"generation": 4, "phase": "Pushed", "rotatedAt": "2026-01-05T09:00:00Z"}},
         ["number 4, since 2026-01-05; rotation under way: GitLab has the new secret"]),
        ({"state": "quiet", "revivals": {"count": 3}, "repair": {"to": "2026-01-05T09:00:00Z", "resent": 5, "lost": 2}},
         ["2026-01-05 09:00, filled: 5 sent again, 2 fetched", '<data value="3">3</data>']),
    ],
)  # fmt: skip
async def test_a_hook_is_told_of_in_plain_words(open_to, said, shown):
    async def hooks():
        return [HOOK | said]

    page = (await (await open_to(hooks=hooks)).get("/hooks")).text
    assert [text for text in shown if text not in page] == []


async def test_what_waits_is_told_of(open_to):
    async def health():
        return {"deliveries": 12, "bytes": 9000, "oldest": 45.0, "dead_letters": 1}

    page = (await (await open_to(health=health)).get("/hooks")).text
    assert "The oldest for 45 s; is a worker running?" in page
    assert "gitpulse deadletters list" in page
    assert "is a worker" not in (await (await open_to({"ops"}, health=health)).get("/hooks")).text
