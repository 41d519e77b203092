"""Live updates, over a real receiver: what a worker tells arrives, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest

from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.log.connection import connect
from gitpulse_service.log.live import Live
from gitpulse_service.metrics_api import Hub, Parts, places
from gitpulse_service.metrics_api.caller import Caller
from gitpulse_service.receiver.server import GRACE
from gitpulse_service.store import keys, tables, tokens
from harness import office
from harness.receiver import client_of, receiver, serving, settings


@pytest.fixture
async def told(redis_url):
    """What a worker calls after a batch."""
    async with connect(redis_url) as client:
        yield Live(client).tell


@contextlib.asynccontextmanager
async def listening(client, token):
    """The stream's events, as they come."""
    headers = {"authorization": f"Bearer {token}"}
    async with asyncio.timeout(20), client.stream("GET", "/api/v1/live", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        async def events():
            kind = None
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                if line.startswith("data: "):
                    yield kind, json.loads(line[6:])

        yield events()


async def first(events, tell, projects, kinds):
    """The first event after telling, until it comes: a reader that has just connected may not listen yet."""
    waiting = asyncio.ensure_future(anext(events))
    while not waiting.done():
        await tell(projects, kinds)
        await asyncio.wait([waiting], timeout=0.05)
    return waiting.result()


@pytest.fixture
async def place(engine, database_url, redis_url):
    await office.settle(engine)
    async with receiver(settings(redis_url, database_url=database_url)) as client:
        yield client


async def test_what_was_counted_is_told(place, engine, told):
    secret = await tokens.create(engine, "all", None, None)
    async with listening(place, secret) as events:
        event, data = await first(events, told, [office.WEBSITE], ["push"])
        assert (event, data) == ("counted", {"projects": ["acme/website"], "kinds": ["push"]})
        started = time.monotonic()
        await told([office.API], ["issue", "note"])
        while (data := (await anext(events))[1])["projects"] != ["acme/api"]:
            pass
        assert data["kinds"] == ["issue", "note"]
        assert time.monotonic() - started < 1


async def test_a_team_is_not_told_of_other_teams_projects(place, engine, told):
    secret = await tokens.create(engine, "ops", ["ops"], None)
    async with engine.begin() as connection:
        row = {"path": "secret/plan", "last_event_at": office.START, "gitlab_id": 44, "instance": office.GITLAB}
        await office.put(connection, tables.project, id=keys.project(office.GITLAB, 44), **row)
    async with listening(place, secret) as events:
        await first(events, told, [office.WEBSITE, keys.project(office.GITLAB, 44)], ["push"])
        await told([keys.project(office.GITLAB, 44)], ["push"])
        await told([office.API, keys.project(office.GITLAB, 44)], ["issue"])
        while (data := (await anext(events))[1])["kinds"] == ["push"]:
            assert data["projects"] == ["acme/website"]
        assert data["projects"] in (["acme/api"], ["acme/api", "acme/website"])


async def test_a_project_that_is_new_is_told_by_its_name(place, engine, told):
    secret = await tokens.create(engine, "all", None, None)
    async with listening(place, secret) as events:
        await first(events, told, [office.WEBSITE], ["push"])
        new = keys.project(office.GITLAB, 45)
        async with engine.begin() as connection:
            row = {"path": "acme/new", "last_event_at": office.START, "gitlab_id": 45, "instance": office.GITLAB}
            await office.put(connection, tables.project, id=new, **row)
        await told([new], ["push"])
        while "acme/new" not in (await anext(events))[1]["projects"]:
            pass


async def test_a_server_that_stops_ends_the_stream(engine, database_url, redis_url, told):
    await office.settle(engine)
    secret = await tokens.create(engine, "all", None, None)
    with contextlib.ExitStack() as server:
        port = server.enter_context(serving(settings(redis_url, database_url=database_url)))
        async with client_of(port) as client, listening(client, secret) as events:
            await first(events, told, [office.WEBSITE], ["push"])
            stopping = asyncio.create_task(asyncio.to_thread(server.close))
            async with asyncio.timeout(GRACE / 2):  # so long would it wait for a stream that does not end
                async for _ in events:
                    pass
                await stopping


async def test_a_token_that_is_revoked_ends_the_stream(place, engine, told):
    secret = await tokens.create(engine, "all", None, None)
    async with listening(place, secret) as events:
        await first(events, told, [office.WEBSITE], ["push"])
        await tokens.revoke(engine, "all")
        await told([office.API], ["issue"])
        assert all("acme/api" not in data["projects"] for _, data in [event async for event in events])


async def test_a_slow_reader_is_told_all_at_once():
    gate = asyncio.Event()

    async def updates():
        await gate.wait()
        for number in range(10_000):
            yield frozenset([number % 7]), frozenset([f"kind{number % 3}"])

    hub = Hub(updates)
    reader = hub.read()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    gate.set()
    await hub.run()
    assert await waiting == (frozenset(range(7)), frozenset(["kind0", "kind1", "kind2"]))
    await reader.aclose()


async def test_a_database_that_goes_away_ends_the_stream_and_is_no_defect():
    async def updates():
        yield frozenset([1]), frozenset(["push"])

    async def away():
        raise StoreUnavailable("it is away")

    hub = Hub(updates)
    reading = asyncio.ensure_future(anext(places.live(Caller(Parts(None, True, hub), None, away)), "ended"))
    await asyncio.sleep(0)
    await hub.run()
    assert await reading == "ended"


async def test_who_left_is_not_kept():
    hub = Hub(lambda: None)
    reader = hub.read()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    assert len(hub._readers) == 1
    waiting.cancel()
    await asyncio.wait([waiting])
    assert len(hub._readers) == 0
