"""Requests for backfills in Redis, and how far each has come."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from redis.asyncio import Redis

from gitpulse_service.contract import BACKFILLS, Backfill, Filling, Unsealable, feedback_key, unseal
from gitpulse_service.log.connection import log_errors

logger = logging.getLogger(__name__)


class Backfills:
    """Raises LogUnavailable. Whoever made the client closes it."""

    def __init__(self, client: Redis, installation_key: bytes | None) -> None:
        self._redis: Any = client
        self._key = installation_key
        self._refused: set[bytes] = set()

    async def pending(self) -> list[tuple[bytes, Backfill]]:
        """Requests, sealed and open; of one that we cannot open the log tells once."""
        with log_errors():
            requests = await self._redis.hgetall(BACKFILLS)
        return [(sealed, it) for hook, sealed in sorted(requests.items()) if (it := self._open(hook.decode(), sealed))]

    def _open(self, hook: str, sealed: bytes) -> Backfill | None:
        try:
            return unseal(self._key or b"", hook, sealed, Backfill)
        except Unsealable as error:
            if sealed not in self._refused:
                why = error if self._key else "set GITPULSE_INSTALLATION_KEY to the operator's own key"
                logger.error("a backfill (hook %s) waits for another worker: %s", hook, why)  # noqa: TRY400
            self._refused.add(sealed)
            return None

    async def filling(self, request: Backfill) -> Filling:
        """How far it has come."""
        with log_errors():
            noted = await self._redis.hget(feedback_key(request.hook_id), "backfill")
        new = Filling(request.since, request.until)
        known = msgspec.json.decode(noted, type=Filling) if noted else new
        return known if (known.since, known.until) == (new.since, new.until) else new

    async def save(self, hook: str, sealed: bytes, filling: Filling) -> bool:
        """Notes how far it has come. False: another request has taken its place."""
        with log_errors():
            async with self._redis.pipeline() as both:
                await both.watch(BACKFILLS)
                if await both.hget(BACKFILLS, hook) != sealed:
                    return False
                both.multi()
                both.hset(feedback_key(hook), "backfill", msgspec.json.encode(filling))
                if filling.state != "Running":
                    both.hdel(BACKFILLS, hook)
                await both.execute()
        return True
