"""A plain client to look behind the receiver, and the operator's half of the directory."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Credential,
    Route,
    seal,
)

Publish = Callable[..., Awaitable[Route]]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def publish(redis: Redis, installation_key: bytes) -> Publish:
    """Publishes a route as the operator does; `complete` sets the marker too."""

    async def publish(hook_id: str, *credentials: Credential, complete: bool = True, **fields) -> Route:
        route = Route(hook_id, f"team/{hook_id}", "https://gitlab.example.com", credentials, **fields)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hset(DIRECTORY, hook_id, seal(installation_key, route))
            pipe.xadd(DIRECTORY_CHANGES, {"hook": hook_id})
            if complete:
                pipe.hset(DIRECTORY_SHARDS, "", "1")
            await pipe.execute()
        return route

    return publish
