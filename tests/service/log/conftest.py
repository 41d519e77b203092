"""A log on the session's Redis, and a plain client to look behind it."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gitpulse_service.log.redis_log import RedisEventLog
from harness.event_log import open_log


@pytest.fixture
async def log(redis_url: str) -> AsyncIterator[RedisEventLog]:
    log = open_log(redis_url)
    yield log
    await log.aclose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client
