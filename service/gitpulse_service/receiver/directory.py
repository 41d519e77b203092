"""The receiver's copy of the directory: which hooks there are, and what proves a delivery of theirs.

It loads the sealed routes, follows their changes, and tells the operator how far it has come. While Redis is away it
keeps what it has. Looking up a route is a dictionary access: no IO on the way to the 200.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gitpulse_service import metrics
from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_ACKS,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Route,
    Unsealable,
    is_complete,
    unseal,
)
from gitpulse_service.errors import DirectoryNotReady

logger = logging.getLogger(__name__)

TURN_MS = 1000
"""Milliseconds for which a turn waits for changes: how old an acknowledgement of a live receiver gets."""
_CHANGES_A_TURN = 1000
_BACK_OFF = (0.05, 1.0)
"""Seconds until the first and before every later try to reach Redis again."""

_Id = tuple[int, int]


class Directory:
    """Managed hooks by id. `run` keeps it current; until it has loaded everything, unknown hooks raise."""

    def __init__(self, client: Redis, installation_key: bytes, receiver_id: str) -> None:
        self._redis: Any = client  # the library's own types differ from version to version
        self._key = installation_key
        self._receiver_id = receiver_id
        self._routes: dict[str, Route | None] = {}
        """None: there is such a hook, but its record does not open."""
        self._version = b""
        """Id of the newest change seen; empty: nothing is loaded."""
        self._complete = False

    @property
    def ready(self) -> bool:
        """Whether it is loaded, complete, and readable at least in part."""
        return bool(self._version) and self._complete and (not self._routes or any(self._routes.values()))

    def route(self, hook_id: str) -> Route | None:
        """The route of a hook, or None if there is no such hook. Raises DirectoryNotReady while nobody can know."""
        if hook_id not in self._routes:  # not a KeyError, which takes a microsecond that tells a stranger so
            if not self._version:
                raise DirectoryNotReady("the directory of hooks is not loaded yet")
            if not self._complete:
                raise DirectoryNotReady("the operator has not published all hooks yet")
            return None
        route = self._routes[hook_id]
        if route is None:
            raise DirectoryNotReady("the directory's record of this hook does not open")
        return route

    async def run(self) -> None:
        """Follows the directory until it is cancelled."""
        first, later = _BACK_OFF
        delay = first
        while True:
            try:
                if not await self._is_known():
                    await self._load()
                while True:
                    delay = first
                    await self._turn()
            except Exception as error:  # noqa: BLE001 -- a copy that silently stops following is worse than any surprise
                if delay == first:  # one line an outage, not one a try
                    logger.warning("the directory of hooks cannot be read: %s", str(error) or type(error).__name__)
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 -- receivers should not come as one
                delay = later

    async def aclose(self) -> None:
        """Withdraws the acknowledgement, so that nobody waits for this receiver, and closes the connection."""
        try:
            await self._redis.hdel(DIRECTORY_ACKS, self._receiver_id)
        except (RedisError, OSError, TimeoutError) as error:
            logger.info("the acknowledgement was not withdrawn: %s", str(error) or type(error).__name__)
        await self._redis.aclose()

    async def _is_known(self) -> bool:
        """Whether Redis has the last change that we saw, so that those since then are all that we lack.

        Then receivers that come back together do not each load ten thousand routes. After a failover it may be lost.
        """
        command = ("XRANGE", DIRECTORY_CHANGES, self._version, self._version)
        return bool(self._version) and bool(await self._redis.execute_command(*command))

    async def _load(self) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.hgetall(DIRECTORY)
        pipe.hvals(DIRECTORY_SHARDS)
        pipe.execute_command("XREVRANGE", DIRECTORY_CHANGES, "+", "-", "COUNT", 1)
        sealed, shards, newest = await pipe.execute()
        # Ten thousand records take a tenth of a second to open: not on the event loop.
        self._routes = await asyncio.to_thread(lambda: dict(map(self._open, sealed, sealed.values())))
        self._complete = is_complete(shards)
        self._version = newest[0][0] if newest else b"0-0"
        await self._acknowledge()

    async def _turn(self) -> None:
        """Waits for changes, at most a second, and takes them over."""
        reply = await self._redis.execute_command(
            "XREAD", "BLOCK", TURN_MS, "COUNT", _CHANGES_A_TURN, "STREAMS", DIRECTORY_CHANGES, self._version
        )
        changes = reply[0][1] if reply else []
        hooks = sorted({fields.get(b"hook", b"") for _, fields in changes})
        pipe = self._redis.pipeline(transaction=True)
        pipe.hvals(DIRECTORY_SHARDS)
        pipe.execute_command("XRANGE", DIRECTORY_CHANGES, "-", "+", "COUNT", 1)
        pipe.execute_command("XREVRANGE", DIRECTORY_CHANGES, "+", "-", "COUNT", 1)
        pipe.hmget(DIRECTORY, hooks or [b""])
        shards, oldest, newest, sealed = await pipe.execute()
        complete = is_complete(shards)
        seen = _order(self._version)
        trimmed = bool(changes) and (not oldest or _order(oldest[0][0]) > seen)
        started_over = bool(newest) and _order(newest[0][0]) < seen
        if trimmed or started_over or (complete and not self._complete):
            await self._load()
            return
        for hook, record in zip(hooks, sealed, strict=False):
            if record is None:
                self._routes.pop(hook.decode(errors="replace"), None)
            else:
                self._routes.update([self._open(hook, record)])
        if changes:
            self._version = changes[-1][0]
        self._complete = complete
        await self._acknowledge()

    def _open(self, hook: bytes, sealed: bytes) -> tuple[str, Route | None]:
        name = hook.decode(errors="replace")
        try:
            return name, unseal(self._key, name, sealed)
        except Unsealable as error:
            logger.warning("%s", error)
            return name, None

    async def _acknowledge(self) -> None:
        metrics.DIRECTORY_HOOKS.set(len(self._routes))
        metrics.DIRECTORY_READY.set(self.ready)
        note = f"{self._version.decode()} {time.time_ns() // 1_000_000}"
        await self._redis.hset(DIRECTORY_ACKS, self._receiver_id, note)


def _order(entry_id: bytes) -> _Id:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)
