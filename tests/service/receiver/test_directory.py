"""The receiver's copy of the directory follows Redis through changes, trims, flushes and outages."""

import contextlib
import os
import signal

import pytest
from redis.asyncio import Redis

from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_ACKS,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Credential,
    Route,
    seal,
)
from gitpulse_service.errors import DirectoryNotReady
from gitpulse_service.log.connection import connect
from gitpulse_service.receiver.app import _background
from gitpulse_service.receiver.directory import Directory
from harness.processes import free_port
from harness.receiver import eventually
from harness.redis import redis_server


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    """What a live receiver does each second is seen sooner."""
    monkeypatch.setattr("gitpulse_service.receiver.directory.TURN_MS", 100)


@contextlib.asynccontextmanager
async def following(url, key):
    directory = Directory(connect(url), key, "receiver-1")
    async with _background(directory.run()):
        yield directory
    await directory.aclose()


@pytest.fixture
async def directory(redis_url, installation_key):
    async with following(redis_url, installation_key) as directory:
        yield directory


def generations(directory, hook):
    """The generations that the copy has for this hook; None if it does not know whether there is such a hook."""
    try:
        route = directory.route(hook)
    except DirectoryNotReady:
        return None
    return [c.generation for c in route.credentials] if route else []


async def becomes(condition, value=True):
    async def check():
        return condition() == value

    await eventually(check)


async def acknowledged(redis):
    """Whether the copy has told that it is up to date."""
    newest = await redis.xrevrange(DIRECTORY_CHANGES, count=1)
    ack = await redis.hget(DIRECTORY_ACKS, "receiver-1")
    return ack is not None and ack.split()[0] == (newest[0][0] if newest else b"0-0")


async def test_nothing_is_known_until_the_operator_has_published_all(directory, redis, publish):
    await eventually(lambda: acknowledged(redis))
    assert generations(directory, "one") is None
    await publish("one", Credential(1, "t"), complete=False)
    await becomes(lambda: generations(directory, "one"), [1])
    assert generations(directory, "two") is None
    assert not directory.ready
    await redis.hset(DIRECTORY_SHARDS, "", "1")
    await becomes(lambda: directory.ready)
    assert generations(directory, "two") == []


async def test_what_was_published_before_is_loaded(publish, redis_url, installation_key):
    for i in range(50):
        await publish(f"hook{i}", Credential(i, "t"))
    async with following(redis_url, installation_key) as directory:
        await becomes(lambda: directory.ready)
        assert [generations(directory, f"hook{i}") for i in range(50)] == [[i] for i in range(50)]


async def test_changes_and_withdrawals_are_followed_and_acknowledged(directory, publish, redis):
    await publish("one", Credential(1, "t"))
    await publish("two", Credential(1, "t"))
    await becomes(lambda: directory.ready)
    await publish("one", Credential(2, "new"), Credential(1, "t"))
    await eventually(lambda: acknowledged(redis))
    assert generations(directory, "one") == [2, 1]
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hdel(DIRECTORY, "two")
        pipe.xadd(DIRECTORY_CHANGES, {"hook": "two"})
        await pipe.execute()
    await eventually(lambda: acknowledged(redis))
    assert generations(directory, "two") == []
    first = int((await redis.hget(DIRECTORY_ACKS, "receiver-1")).split()[1])

    async def refreshed():  # a receiver that lives says so without any change
        return int((await redis.hget(DIRECTORY_ACKS, "receiver-1")).split()[1]) > first

    await eventually(refreshed)


async def test_a_receiver_that_ends_withdraws_its_acknowledgement(publish, redis, redis_url, installation_key):
    await publish("one", Credential(1, "t"))
    async with following(redis_url, installation_key):
        await eventually(lambda: acknowledged(redis))
    assert not await redis.hexists(DIRECTORY_ACKS, "receiver-1")


async def test_a_copy_that_fell_behind_the_trimmed_stream_loads_all(directory, publish, redis, installation_key):
    await publish("one", Credential(1, "t"))
    await publish("gone", Credential(1, "t"))
    await becomes(lambda: directory.ready)
    await eventually(lambda: acknowledged(redis))
    route = Route("one", "", "", (Credential(7, "t"),))
    async with redis.pipeline(transaction=True) as pipe:  # as a receiver sees it that was away for ten thousand changes
        pipe.hset(DIRECTORY, "one", seal(installation_key, route))
        pipe.hdel(DIRECTORY, "gone")
        pipe.xadd(DIRECTORY_CHANGES, {"hook": "one"})
        pipe.xadd(DIRECTORY_CHANGES, {"hook": "gone"})
        pipe.xadd(DIRECTORY_CHANGES, {"hook": "another"}, maxlen=1, approximate=False)
        await pipe.execute()
    await becomes(lambda: generations(directory, "one"), [7])
    assert generations(directory, "gone") == []


async def test_a_flushed_redis_leaves_the_last_good_copy_until_it_is_rebuilt(directory, publish, redis):
    await publish("one", Credential(1, "t"))
    await publish("two", Credential(1, "t"))
    await becomes(lambda: directory.ready)
    await redis.flushall()
    await becomes(lambda: directory.ready, False)
    assert generations(directory, "one") == [1]
    assert generations(directory, "unknown") is None
    await publish("one", Credential(5, "t"))
    await becomes(lambda: directory.ready)
    assert generations(directory, "one") == [5]
    assert generations(directory, "two") == []


async def test_what_the_operator_rebuilt_without_a_word_is_loaded(directory, publish, redis):
    await publish("one", Credential(1, "t"))
    await publish("two", Credential(1, "t"))
    await becomes(lambda: directory.ready)
    await redis.delete(DIRECTORY_SHARDS)
    await becomes(lambda: directory.ready, False)
    await redis.hdel(DIRECTORY, "two")
    await redis.hset(DIRECTORY_SHARDS, "", "1")
    await becomes(lambda: generations(directory, "two"), [])
    assert generations(directory, "one") == [1]


async def test_a_stream_that_began_anew_with_lower_ids_is_noticed(directory, publish, redis, installation_key):
    await publish("one", Credential(1, "t"))
    await becomes(lambda: directory.ready)
    route = Route("one", "", "", (Credential(9, "t"),))
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(DIRECTORY_CHANGES)
        pipe.hset(DIRECTORY, "one", seal(installation_key, route))
        pipe.xadd(DIRECTORY_CHANGES, {"hook": "one"}, id="5-1")
        await pipe.execute()
    await becomes(lambda: generations(directory, "one"), [9])


async def test_a_record_of_another_key_is_neither_trusted_nor_unknown(redis, publish, redis_url, caplog):
    await publish("one", Credential(1, "hunter2"))
    async with following(redis_url, bytes(32)) as directory:
        await eventually(lambda: acknowledged(redis))
        assert generations(directory, "one") is None
        assert generations(directory, "two") == []
        assert not directory.ready
    assert "GITPULSE_INSTALLATION_KEY" in caplog.text
    assert "hunter2" not in caplog.text


async def test_rubbish_in_the_directory_does_not_stop_it(directory, redis, publish, caplog):
    await redis.hset(DIRECTORY, b"\xff", b"")
    await redis.xadd(DIRECTORY_CHANGES, {"what": "is this"})
    await publish("one", Credential(1, "t"))
    await becomes(lambda: generations(directory, "one"), [1])
    await redis.delete(DIRECTORY_CHANGES)
    await redis.set(DIRECTORY_CHANGES, "not a stream")
    await becomes(lambda: "cannot be read" in caplog.text)
    await redis.delete(DIRECTORY_CHANGES)
    await publish("one", Credential(2, "t"))
    await becomes(lambda: generations(directory, "one"), [2])


async def test_an_outage_changes_nothing_and_ends_by_itself(tmp_path, installation_key, caplog):
    port = free_port()

    async def put(url, generation):
        async with Redis.from_url(url) as redis:
            route = Route("one", "", "", (Credential(generation, "t"),))
            await redis.hset(DIRECTORY, "one", seal(installation_key, route))
            await redis.hset(DIRECTORY_SHARDS, "", "1")
            await redis.xadd(DIRECTORY_CHANGES, {"hook": "one"})

    async with following(f"redis://127.0.0.1:{port}/0", installation_key) as directory:
        with redis_server(tmp_path, port=port) as server:
            await put(server.url, 1)
            await becomes(lambda: directory.ready)
        await becomes(lambda: "cannot be read" in caplog.text)
        assert generations(directory, "one") == [1]
        assert directory.ready
        with redis_server(tmp_path, port=port) as server:
            await put(server.url, 2)
            await becomes(lambda: generations(directory, "one"), [2])
            os.kill(server.pid, signal.SIGSTOP)
            assert generations(directory, "one") == [2]
            os.kill(server.pid, signal.SIGCONT)
            await put(server.url, 3)
            await becomes(lambda: generations(directory, "one"), [3])
    assert sum("cannot be read" in r.message for r in caplog.records) <= 3


async def loads(url):
    async with Redis.from_url(url) as redis:
        return (await redis.info("commandstats")).get("cmdstat_hgetall", {"calls": 0})["calls"]


async def test_many_receivers_that_come_back_together_load_only_what_they_lack(tmp_path, installation_key):
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"

    async def put(generation, *, anew=False):
        async with Redis.from_url(url) as redis, redis.pipeline(transaction=True) as pipe:
            if anew:
                pipe.delete(DIRECTORY_CHANGES)
            route = Route("one", "", "", (Credential(generation, "t"),))
            pipe.hset(DIRECTORY, "one", seal(installation_key, route))
            pipe.hset(DIRECTORY_SHARDS, "", "1")
            pipe.xadd(DIRECTORY_CHANGES, {"hook": "one"})
            await pipe.execute()

    async with contextlib.AsyncExitStack() as stack:
        with redis_server(tmp_path, port=port, appendonly=True):
            await put(1)
            many = [await stack.enter_async_context(following(url, installation_key)) for _ in range(20)]
            await becomes(lambda: all(each.ready for each in many))
            assert await loads(url) == 20
        with redis_server(tmp_path, port=port, appendonly=True):
            await put(2)
            await becomes(lambda: all(generations(each, "one") == [2] for each in many))
            assert await loads(url) == 0
            # A Redis that lost the last change, as a replica may have: what was seen of it is not to be trusted.
            await put(3, anew=True)
            await becomes(lambda: all(generations(each, "one") == [3] for each in many))
        with redis_server(tmp_path, port=port, appendonly=True):
            await put(4)
            await becomes(lambda: all(generations(each, "one") == [4] for each in many))


async def test_a_change_that_a_failover_lost_is_not_kept(tmp_path, installation_key):
    """Its successor has newer changes, and the older state of that hook."""
    port = free_port()

    async def put(url, hook, generation):
        async with Redis.from_url(url) as redis, redis.pipeline(transaction=True) as pipe:
            route = Route(hook, "", "", (Credential(generation, "t"),))
            pipe.hset(DIRECTORY, hook, seal(installation_key, route))
            pipe.hset(DIRECTORY_SHARDS, "", "1")
            pipe.xadd(DIRECTORY_CHANGES, {"hook": hook})
            await pipe.execute()

    async with following(f"redis://127.0.0.1:{port}/0", installation_key) as directory:
        with redis_server(tmp_path, port=port, appendonly=True) as server:
            await put(server.url, "one", 1)
            await put(server.url, "two", 1)
            await becomes(lambda: directory.ready)
        kept = (tmp_path / "appendonly.aof").read_bytes()
        with redis_server(tmp_path, port=port, appendonly=True) as server:
            await put(server.url, "one", 2)
            await becomes(lambda: generations(directory, "one"), [2])
        (tmp_path / "appendonly.aof").write_bytes(kept)
        with redis_server(tmp_path, port=port, appendonly=True) as server:
            await put(server.url, "two", 2)
            await becomes(lambda: generations(directory, "two"), [2])
            await becomes(lambda: generations(directory, "one"), [1])
