"""Deliveries that wait share a call, none waits for a timer, and each hears its own answer."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from gitpulse_service.errors import LogFull, LogUnavailable
from gitpulse_service.log.redis_log import CALL_TIMEOUT
from gitpulse_service.receiver.group_commit import MOST, MOST_BYTES, GroupCommit
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.processes import free_port
from harness.proxy import Proxy


async def calls(redis: Redis) -> int:
    stats = await redis.info("commandstats")
    return stats.get("cmdstat_evalsha", {"calls": 0})["calls"]


@pytest.fixture
async def log(redis_url, redis):
    log = open_log(redis_url, max_backlog=2000)
    await log.append([envelope("warm")])
    await redis.config_resetstat()
    yield log
    await log.aclose()


async def test_those_that_wait_share_one_call_and_get_their_own_receipt(log, redis):
    commits = GroupCommit(log)
    names = [str(i) for i in range(MOST + 10)]
    receipts = await asyncio.gather(*(commits.append(envelope(name)) for name in names))
    assert await calls(redis) == 2
    entries = await log.read(receipts[0].partition, consumer="a", count=1000, size=1 << 30)
    assert {e.job_id: e.envelope.delivery_id for e in entries[1:]} == {
        r.job_id: name for r, name in zip(receipts, names, strict=True)
    }
    await commits.append(envelope("alone"))
    assert await calls(redis) == 3


async def test_huge_deliveries_do_not_make_small_ones_wait_in_one_call(log, redis):
    commits = GroupCommit(log)
    await asyncio.gather(*(commits.append(envelope(str(i), body=b"x" * (MOST_BYTES // 2))) for i in range(4)))
    assert await calls(redis) == 2


async def test_a_failure_reaches_each_of_them_and_ends_there(redis_url, log):
    nowhere, small = open_log(f"redis://127.0.0.1:{free_port()}/0"), open_log(redis_url, max_backlog=3)
    away, full = GroupCommit(nowhere), GroupCommit(small)
    answers = await asyncio.gather(*(away.append(envelope(str(i))) for i in range(5)), return_exceptions=True)
    assert [type(a) for a in answers] == [LogUnavailable] * 5
    assert len(set(map(id, answers))) == 5
    answers = await asyncio.gather(*(full.append(envelope(str(i))) for i in range(5)), return_exceptions=True)
    assert [type(a) for a in answers] == [LogFull] * 5
    assert not (await full.append(envelope("one more"))).duplicate
    await nowhere.aclose()
    await small.aclose()


async def test_a_client_that_leaves_takes_nobody_with_it(log):
    commits = GroupCommit(log)
    tasks = [asyncio.create_task(commits.append(envelope(str(i)))) for i in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [i for i, a in enumerate(answers) if isinstance(a, BaseException)] == [3]


async def test_those_behind_a_redis_that_fell_silent_are_answered_with_the_first(redis_process):
    """Else the last of a burst would wait for each call before it, beyond the ten seconds that GitLab waits."""
    proxy = Proxy(redis_process.port)
    async with proxy.listening() as port:
        log = open_log(f"redis://127.0.0.1:{port}/0")
        await log.append([envelope("warm")])
        commits = GroupCommit(log)
        proxy.passing = False
        proxy.silence()
        started = time.monotonic()
        answers = await asyncio.gather(
            *(commits.append(envelope(str(i))) for i in range(10 * MOST)), return_exceptions=True
        )
        assert {type(a) for a in answers} == {LogUnavailable}
        assert time.monotonic() - started < CALL_TIMEOUT + 2
        await log.aclose()
