"""The directory of routes in Redis: publishes what receivers must know, and reads what they have noted.

Each record is sealed; each change is written in one transaction with its entry in the stream of changes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff
from redis.exceptions import ReadOnlyError, RedisError

from gitpulse_operator.domain.delivery import Feedback
from gitpulse_operator.errors import DirectoryUnavailable
from gitpulse_service.contract import (
    ACCESSES,
    BACKFILLS,
    DIRECTORY,
    DIRECTORY_ACKS,
    DIRECTORY_CHANGES,
    DIRECTORY_CHANGES_KEPT,
    DIRECTORY_SHARDS,
    FILLINGS,
    HOOKS,
    TEAMS,
    Access,
    Backfill,
    Filling,
    HookReport,
    Route,
    Sealed,
    Team,
    Unsealable,
    feedback_key,
    seal,
    sentinels,
    unseal,
)

AT_ONCE = 200
"""Routes in one request, so that nothing else waits long for its turn."""


class RedisDirectory:
    """The directory, sealed with the installation key; ours is one shard of so many."""

    def __init__(self, url: str, installation_key: bytes, *, shard: str = "", shards: int = 1) -> None:
        self._redis, self._sentinels = _connect(url)
        self._key = installation_key
        self._shard, self._shards = shard, shards

    async def close(self) -> None:
        """Closes the connections."""
        for client in (self._redis, *self._sentinels):
            await client.aclose()

    async def publish(self, *routes: Route) -> None:
        for start in range(0, len(routes), AT_ONCE):
            some = routes[start : start + AT_ONCE]
            known = cast(
                "list[bytes | None]", await self._run(self._redis.hmget(DIRECTORY, [route.hook_id for route in some]))
            )
            await self._write([route for route, sealed in zip(some, known, strict=True) if not self._is(route, sealed)])

    async def _write(self, routes: list[Route]) -> None:
        if not routes:
            return
        async with self._redis.pipeline(transaction=True) as together:
            for route in routes:
                together.hset(DIRECTORY, route.hook_id, cast("Any", seal(self._key, route)))
                together.xadd(
                    DIRECTORY_CHANGES, {"hook": route.hook_id}, maxlen=DIRECTORY_CHANGES_KEPT, approximate=True
                )
            await self._run(together.execute())

    async def withdraw(self, hook_id: str) -> None:
        async with self._redis.pipeline(transaction=True) as together:
            for key in (DIRECTORY, BACKFILLS, FILLINGS):
                together.hdel(key, hook_id)
            together.xadd(DIRECTORY_CHANGES, {"hook": hook_id}, maxlen=DIRECTORY_CHANGES_KEPT, approximate=True)
            await self._run(together.execute())

    async def grant(self, access: Access) -> None:
        await self._put(ACCESSES, access)

    async def revoke(self, name: str) -> None:
        await self._run(self._redis.hdel(ACCESSES, name))

    async def mark_complete(self) -> None:
        await self._run(cast("Any", self._redis.hset(DIRECTORY_SHARDS, self._shard, str(self._shards))))

    async def is_complete(self) -> bool:
        said = cast("bytes | None", await self._run(self._redis.hget(DIRECTORY_SHARDS, self._shard)))
        return said is not None and int(said) == self._shards

    async def version(self) -> str:
        newest = cast("list[tuple[bytes, object]]", await self._run(self._redis.xrevrange(DIRECTORY_CHANGES, count=1)))
        return newest[0][0].decode() if newest else "0-0"

    async def acknowledgements(self) -> dict[str, tuple[str, int]]:
        found = cast("dict[bytes, bytes]", await self._run(cast("Any", self._redis.hgetall(DIRECTORY_ACKS))))
        split = {receiver.decode(): value.decode().split(" ", 1) for receiver, value in found.items()}
        return {receiver: (version, int(time)) for receiver, (version, time) in split.items()}

    async def feedback(self, *hook_ids: str) -> list[Feedback]:
        async with self._redis.pipeline(transaction=False) as all_of_them:
            for hook_id in hook_ids:
                all_of_them.hgetall(feedback_key(hook_id))
                all_of_them.hget(FILLINGS, hook_id)
            found = await self._run(all_of_them.execute())
        return [_feedback(*each) for each in zip(found[::2], found[1::2], strict=True)]

    async def note_off(self, hook_id: str, last: int) -> None:
        async with self._redis.pipeline(transaction=True) as both:
            both.hsetnx(feedback_key(hook_id), "off", str(last or time.time_ns() // 1_000_000))
            both.persist(feedback_key(hook_id))  # until the next delivery
            await self._run(both.execute())

    async def hand_over(self, request: Backfill) -> None:
        async with self._redis.pipeline(transaction=True) as together:
            together.hset(BACKFILLS, request.name, cast("Any", msgspec.json.encode(request)))
            together.hset(FILLINGS, request.name, cast("Any", msgspec.json.encode(Filling.begun(request))))
            together.hdel(feedback_key(request.name), "off")
            await self._run(together.execute())

    async def report(self, key: str, report: HookReport) -> None:
        encoded = msgspec.json.encode(report)
        if await self._run(self._redis.hget(HOOKS, key)) != encoded:
            await self._run(self._redis.hset(HOOKS, key, cast("Any", encoded)))

    async def withdraw_report(self, key: str) -> None:
        await self._run(self._redis.hdel(HOOKS, key))

    async def teams(self) -> list[tuple[str, str]]:
        keys = cast("list[bytes]", await self._run(cast("Any", self._redis.hkeys(TEAMS))))
        return [(namespace, name) for key in keys for namespace, _, name in [key.decode().partition("/")]]

    async def publish_team(self, team: Team) -> None:
        await self._put(TEAMS, team)

    async def withdraw_team(self, namespace: str, name: str) -> None:
        await self._run(self._redis.hdel(TEAMS, f"{namespace}/{name}"))

    async def _put(self, place: str, record: Sealed) -> None:
        if not self._is(record, await self._run(self._redis.hget(place, record.key))):
            await self._run(self._redis.hset(place, record.key, cast("Any", seal(self._key, record))))

    def _is(self, record: Sealed, sealed: bytes | None) -> bool:
        try:
            return sealed is not None and unseal(self._key, record.key, sealed, type(record)) == record
        except Unsealable:  # another installation's key, or damaged: ours replaces it
            return False

    async def _run(self, command: Awaitable[Any] | Any) -> Any:  # noqa: ANN401 - redis-py's untyped answer
        try:
            return await command
        except (RedisError, OSError) as error:
            if isinstance(error, ReadOnlyError):  # a replica by now: the next connection leads to the master
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise DirectoryUnavailable(
                f"Redis does not answer ({type(error).__name__}); see that GITPULSE_REDIS_URL is right and Redis is up"
            ) from None


def _connect(url: str) -> tuple[Redis, list[Redis]]:
    """A client of the master, and of those who know which one that is, all to be closed."""
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=3)
    options: dict[str, Any] = {"retry": retry, "socket_timeout": 5, "socket_connect_timeout": 5}
    if not (place := sentinels(url)):
        return Redis.from_url(url, **options), []
    asking = {**place.sentinel_options, "socket_timeout": 1, "socket_connect_timeout": 1}
    asked: Any = Sentinel(place.hosts, sentinel_kwargs=asking, **place.options, **options)  # type: ignore[no-untyped-call, unused-ignore]
    return asked.master_for(place.master), asked.sentinels


def _feedback(found: dict[bytes, bytes], backfill: bytes | None) -> Feedback:
    notes = {field.decode(): value.decode() for field, value in found.items()}
    accepted = {int(k.removeprefix("accepted:")): int(v) for k, v in notes.items() if k.startswith("accepted:")}
    refused, off, changed = (int(notes[name]) if name in notes else None for name in ("refused", "off", "changed"))
    return Feedback(accepted, refused, notes.get("refused:reason", ""), off, (backfill or b"").decode(), changed)
