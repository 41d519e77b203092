"""A drain tells what it has counted, once it is there to be asked for."""

from __future__ import annotations

import asyncio

import pytest

from gitpulse_service.log.connection import connect
from gitpulse_service.log.live import Live
from gitpulse_service.log.redis_log import partition_of
from gitpulse_service.store import keys, queries
from gitpulse_service.worker.drain import Drain, Limits
from harness.event_log import open_log
from harness.samples import INSTANCE, body, envelope


@pytest.fixture
async def live(redis_url):
    async with connect(redis_url) as client:
        yield Live(client)


async def test_each_batch_is_told_after_it_is_written(engine, live, redis_url):
    log = open_log(redis_url)
    updates = live.updates()
    waiting = asyncio.ensure_future(anext(updates))
    while not waiting.done():
        await live.tell([], [])
        await asyncio.wait([waiting], timeout=0.05)
    names = ("push/two_commits", "issue/open", "group/member_added", "push/two_commits")
    await log.append([envelope(body(name), delivery_id=str(i)) for i, name in enumerate(names)])
    drain = Drain(log, engine, consumer="one", limits=Limits(100, 10**6), live=live)
    assert await drain.run(partition_of("hook-1", 4), seconds=10)
    async with asyncio.timeout(20):
        while (news := await anext(updates)) == (set(), set()):
            pass
    assert news == ({keys.project(INSTANCE, 42)}, {"push", "issue"})
    assert [project.gitlab_id for project in await queries.projects(engine)] == [42]
    await updates.aclose()
    await log.aclose()
