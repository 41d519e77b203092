"""The directory in a real Redis: what is published, what is read back, and what happens without it."""

from __future__ import annotations

import pytest
import redis as redis_client

from gitpulse_operator.adapters.directory import RedisDirectory
from gitpulse_operator.domain.delivery import Feedback
from gitpulse_operator.errors import DirectoryUnavailable
from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_ACKS,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Credential,
    Route,
    feedback_key,
    unseal,
)
from harness.processes import free_port

ROUTE = Route("hook1", "team/website", "https://gitlab.example.com", (Credential(1, "t" * 64, b"k" * 32),))


@pytest.fixture
async def directory(redis_url, installation_key):
    made = RedisDirectory(redis_url, installation_key)
    yield made
    await made.close()


@pytest.fixture
def redis(redis_url):
    with redis_client.Redis.from_url(redis_url) as client:
        yield client


async def test_published_sealed_and_told(directory, redis, installation_key):
    await directory.publish(ROUTE)
    sealed = redis.hget(DIRECTORY, "hook1")
    assert unseal(installation_key, "hook1", sealed) == ROUTE
    assert b"t" * 64 not in sealed
    assert [entry for _, entry in redis.xrange(DIRECTORY_CHANGES)] == [{b"hook": b"hook1"}]
    assert await directory.version() == redis.xrevrange(DIRECTORY_CHANGES)[0][0].decode()


async def test_the_same_again_is_no_change(directory, redis):
    await directory.publish(ROUTE)
    await directory.publish(ROUTE)
    assert redis.xlen(DIRECTORY_CHANGES) == 1
    redis.hset(DIRECTORY, "hook1", b"damaged")
    await directory.publish(ROUTE)
    assert redis.xlen(DIRECTORY_CHANGES) == 2


async def test_withdrawn(directory, redis):
    await directory.publish(ROUTE)
    await directory.withdraw("hook1")
    assert redis.hlen(DIRECTORY) == 0
    assert redis.xlen(DIRECTORY_CHANGES) == 2


async def test_complete(directory, redis):
    assert not await directory.is_complete()
    await directory.mark_complete()
    assert redis.exists(DIRECTORY_SHARDS)
    assert await directory.is_complete()


async def test_what_receivers_say(directory, redis):
    assert await directory.version() == "0-0"
    assert await directory.acknowledgements() == {}
    assert await directory.feedback("hook1") == [Feedback({}, None, "")]
    redis.hset(DIRECTORY_ACKS, mapping={"a": "5-0 1700", "b": "4-1 1600"})
    redis.hset(
        feedback_key("hook1"), mapping={"accepted:2": 99, "accepted:1": 50, "refused": 70, "refused:reason": "x"}
    )
    assert await directory.acknowledgements() == {"a": ("5-0", 1700), "b": ("4-1", 1600)}
    assert await directory.feedback("hook1") == [Feedback({1: 50, 2: 99}, 70, "x")]


async def test_without_redis(installation_key):
    directory = RedisDirectory(f"redis://:secret@127.0.0.1:{free_port()}/0", installation_key)
    with pytest.raises(DirectoryUnavailable, match="GITPULSE_REDIS_URL") as caught:
        await directory.publish(ROUTE)
    assert "secret" not in str(caught.value)
    await directory.close()
