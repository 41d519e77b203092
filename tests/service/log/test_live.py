"""What was counted is told to whoever listens, and to nobody else."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_client

from gitpulse_service.log.connection import connect
from gitpulse_service.log.live import COUNTED, KEPT, Live
from harness.processes import free_port
from harness.redis import redis_server


@pytest.fixture
async def live(redis_url):
    async with connect(redis_url) as client:
        yield Live(client)


async def test_news_come_from_when_one_listens(live):
    await live.tell([1], ["push"])
    updates = live.updates()
    waiting = asyncio.ensure_future(anext(updates))
    while not waiting.done():
        await live.tell([2, 3], ["issue", "note"])
        await asyncio.wait([waiting], timeout=0.05)
    assert waiting.result() == ({2, 3}, {"issue", "note"})
    await updates.aclose()


async def test_none_is_missed_between_two_looks(live):
    updates = live.updates()
    waiting = asyncio.ensure_future(anext(updates))
    while not waiting.done():
        await live.tell([0], [])
        await asyncio.wait([waiting], timeout=0.05)
    for number in range(1, 50):
        await live.tell([number], [])
    seen = [waiting.result()]
    async with asyncio.timeout(20):
        while seen[-1][0] != {49}:
            seen.append(await anext(updates))
    assert [news for news, _ in seen if news != {0}] == [{number} for number in range(1, 50)]
    await updates.aclose()


async def test_old_news_are_forgotten(live, redis_url):
    for _ in range(3 * KEPT):
        await live.tell([1], ["push"])
    with redis_client.Redis.from_url(redis_url) as client:
        assert client.xlen(COUNTED) < 2 * KEPT


async def test_a_redis_that_is_away_hinders_nobody_who_tells():
    async with connect(f"redis://127.0.0.1:{free_port()}/0") as client:
        await Live(client).tell([1], ["push"])


async def test_a_listener_goes_on_when_redis_is_back(tmp_path):
    with redis_server(tmp_path) as server:
        async with connect(server.url) as client:
            live = Live(client)
            updates = live.updates()
            waiting = asyncio.ensure_future(anext(updates))
            while not waiting.done():
                await live.tell([1], [])
                await asyncio.wait([waiting], timeout=0.05)
            waiting = asyncio.ensure_future(anext(updates))
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
            while not waiting.done():
                await live.tell([2], [])
                await asyncio.wait([waiting], timeout=0.05)
            while (news := waiting.result()) == ({1}, set()):
                waiting = asyncio.ensure_future(anext(updates))
                await waiting
            assert news == ({2}, set())
            await updates.aclose()
