"""How answers travel: JSON or CSV, validators, problems."""

from __future__ import annotations

import csv

import pytest

from harness.query_api import problem

SERIES = "metrics/commits?group_by=person"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("text/html, text/csv;q=0.9, */*;q=0.1", "text/csv; charset=utf-8"),
        ("application/json;q=0.2, text/csv;q=0.1", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("application/json;q=0, */*", "text/csv; charset=utf-8"),
        ("application/json;q=much, text/csv;q=0.1", "text/csv; charset=utf-8"),
    ],
)
async def test_the_client_says_what_it_reads(client, accept, kind):
    answer = await client.get(SERIES, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text/csv;q=0.0"])
async def test_what_we_do_not_speak_is_406(client, accept):
    assert "application/json or text/csv" in problem(await client.get(SERIES, headers={"accept": accept}), 406)


async def test_the_format_goes_before_the_header(client):
    answer = await client.get(f"{SERIES}&format=json", headers={"accept": "image/png"})
    assert answer.headers["content-type"] == "application/json"


async def test_a_table_is_safe_in_a_spreadsheet(client):
    rows = list(csv.DictReader((await client.get(f"{SERIES}&format=csv")).text.splitlines()))
    assert [(row["group"], row["count"]) for row in rows] == [("'=Cleo()", "1"), ("Ann Lee", "5"), ("Ben Okafor", "2")]
    assert list(rows[0])[:4] == ["start", "end", "group", "count"]


async def test_other_answers_are_tables_too(client):
    (dora,) = csv.DictReader((await client.get("dora?from=2026-01-05&to=2026-01-15&format=csv")).text.splitlines())
    assert (dora["deployments"], dora["change_failure_rate"], dora["from"]) == ("4", "0.25", "2026-01-05T00:00:00Z")
    teams = list(csv.DictReader((await client.get("teams?format=csv")).text.splitlines()))
    assert teams[1] == {"name": "web", "time_zone": "Europe/Berlin", "members": "Ann Lee; Ben Okafor"}


async def test_a_table_without_rows_has_its_head(client):
    answer = await client.get("metrics/commits?from=2020-01-01&to=2020-01-02&group_by=person&format=csv")
    assert answer.text == "start,end,group,count,sum,mean,p50,p75,p90,p95\r\n"


async def test_what_is_still_the_same_is_not_sent_again(client):
    first = await client.get(SERIES)
    tag = first.headers["etag"]
    assert (first.headers["cache-control"], first.headers["vary"]) == ("private, no-cache", "Accept, Authorization")
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(SERIES, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for other in ('"other"', tag[:-2] + '"', ""):
        assert (await client.get(SERIES, headers={"if-none-match": other})).content == first.content
    table = await client.get(f"{SERIES}&format=csv", headers={"if-none-match": tag})
    assert table.status_code == 200


async def test_every_error_is_a_problem(client):
    assert "there is no GET /api/v1/nothing" in problem(await client.get("nothing"), 404)
    refused = await client.post("projects")
    assert (problem(refused, 405)[:28], refused.headers["allow"]) == ("there is no POST /api/v1/pro", "GET")
    assert (await client.get("projects?limit=x")).json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "limit: Input should be a valid integer, unable to parse string as an integer",
    }
