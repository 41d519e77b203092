"""Dead letters: found, put back in one step, dropped."""

import asyncio
import os
import signal

import pytest

from gitpulse_service.errors import LogFull, WrongLetter
from gitpulse_service.log.connection import connect
from gitpulse_service.log.dead_letters import CHUNK, DeadLetters
from gitpulse_service.log.redis_log import DEAD, partition_of, stream
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.processes import free_port
from harness.redis import redis_server

PARTITION = partition_of("hook", 4)


@pytest.fixture
def letters(redis):
    return DeadLetters(redis, 4)


async def buried(log, *names, reason="Undecodable: no"):
    await log.append([envelope(name) for name in names])
    for entry in await log.read(PARTITION, consumer="a", count=1000, size=1 << 30):
        await log.bury(entry, reason)


async def all_of(letters, limit=None):
    return [letter async for letter in letters.newest(limit)]


async def test_the_newest_come_first_and_no_more_than_asked_for(log, letters):
    names = [str(i) for i in range(2 * CHUNK + 3)]
    await buried(log, *names)
    found = [letter.envelope.delivery_id for letter in await all_of(letters)]
    assert found == names[::-1]
    for limit in (1, CHUNK, CHUNK + 1):
        assert [letter.envelope.delivery_id for letter in await all_of(letters, limit)] == found[:limit]


async def test_a_letter_put_back_is_read_once_more_though_its_id_is_known(log, letters):
    await buried(log, "one")
    (letter,) = await all_of(letters)
    assert (await log.append([envelope("one")]))[0].duplicate
    assert await letters.retry([letter]) == 1
    assert await letters.retry([letter]) == 0, "somebody was faster"
    (entry,) = await log.read(PARTITION, consumer="a", count=9, size=1 << 20)
    assert (entry.envelope, entry.size) == (envelope("one"), (await log.survey()).bytes)
    assert await all_of(letters) == []


async def test_it_goes_where_its_hook_is_now(log, redis, redis_url):
    """The number of partitions may have changed meanwhile."""
    await buried(log, "one")
    more = DeadLetters(redis, 7)
    await more.retry(await all_of(more))
    assert await redis.xlen(stream(partition_of("hook", 7))) == 1


async def test_what_was_malformed_or_is_damaged_stays(log, letters, redis):
    await buried(log, "good")
    await log.bury_unread(envelope("refused", body=b"{"), "not_json")
    await redis.xadd(stream(PARTITION), {"entry": b"garbage"})
    await log.read(PARTITION, consumer="a", count=9, size=9)
    damaged, malformed, good = await all_of(letters)
    with pytest.raises(WrongLetter, match=rf"{malformed.id} cannot be put back: it was malformed \(not_json\)"):
        await letters.retry([good, malformed])
    with pytest.raises(WrongLetter, match=f"{damaged.id} cannot be put back: its entry is damaged"):
        await letters.retry([damaged])
    assert len(await all_of(letters)) == 3
    assert await letters.retry_all() == (1, 2)
    assert [letter.id for letter in await all_of(letters)] == [damaged.id, malformed.id]
    assert (damaged.body, malformed.body) == (b"garbage", b"{")


@pytest.mark.parametrize("wrong", ["", "x", "-", "+", "1", "1-", "99-0", "1-1-1", "(1-1", "٣-1", "9" * 30 + "-1"])
async def test_an_id_that_is_none_is_named(log, letters, wrong):
    await buried(log, "one")
    (letter,) = await all_of(letters)
    with pytest.raises(WrongLetter, match="there is no dead letter"):
        await letters.find([letter.id, wrong])


async def test_dropped_ones_are_gone(log, letters):
    await buried(log, *"abcd")
    found = await all_of(letters)
    assert await letters.drop(await letters.find([found[1].id, found[1].id, found[3].id])) == 2
    assert await all_of(letters) == [found[0], found[2]]
    assert await letters.count() == 2
    assert await letters.drop_all() == 2
    assert await letters.count() == 0


async def test_two_who_retry_all_at_once_put_each_back_once(log, letters, redis_url):
    await buried(log, *(str(i) for i in range(3 * CHUNK)))
    async with connect(redis_url) as other:
        done = await asyncio.gather(*(each.retry_all() for each in (letters, DeadLetters(other, 4))))
    assert sum(count for count, _ in done) == 3 * CHUNK
    assert (await log.backlog())[PARTITION] == 3 * CHUNK


async def test_a_redis_without_memory_keeps_them(log, letters, redis):
    await buried(log, "one")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(LogFull):
            await letters.retry_all()
    finally:
        await redis.config_set("maxmemory", 0)
    assert await letters.count() == 1
    assert (await log.backlog())[PARTITION] == 0


async def test_a_server_killed_at_any_moment_has_each_letter_or_its_delivery(tmp_path):
    """With its append-only file; the kill falls somewhere among the calls."""
    port, kept = free_port(), [str(i) for i in range(200)]
    with redis_server(tmp_path, port=port, appendonly=True) as server:
        log = open_log(server.url)
        await buried(log, *kept)
        async with connect(server.url) as client:
            letters = DeadLetters(client, 4)
            task = asyncio.create_task(letters.retry_all())
            while not (await log.backlog())[PARTITION]:
                pass
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.gather(task, return_exceptions=True)
        await log.aclose()
    with redis_server(tmp_path, port=port, appendonly=True) as server:
        log = open_log(server.url)
        async with connect(server.url) as client:
            left = [letter.envelope.delivery_id for letter in await all_of(DeadLetters(client, 4))]
            back = await log.read(PARTITION, consumer="a", count=1000, size=1 << 30)
            assert back, "the kill came too early to tell anything"
            assert sorted(left + [entry.envelope.delivery_id for entry in back]) == sorted(kept)
            assert await client.xlen(DEAD) == len(left)
        await log.aclose()
