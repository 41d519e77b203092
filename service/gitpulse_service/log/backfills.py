"""Requests for backfills in Redis, and how far each has come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from gitpulse_service.contract import BACKFILLS, FILLINGS, Backfill, Filling
from gitpulse_service.log.connection import log_errors


class Backfills:
    """Raises LogUnavailable. Whoever made the client closes it."""

    def __init__(self, client: Redis) -> None:
        self._redis: Any = client

    async def pending(self, instance: str) -> list[Backfill]:
        """What is wanted of a GitLab, those that measure at last."""
        with log_errors():
            requests = await self._redis.hvals(BACKFILLS)
        found = [msgspec.json.decode(request, type=Backfill) for request in requests]
        return sorted((it for it in found if it.instance == instance), key=lambda it: (it.check, it.name))

    async def shown(self) -> list[dict[str, object]]:
        """How far all have come that are wanted or were, for people: a hook's id is nobody's business."""
        with log_errors():
            noted = await self._redis.hvals(FILLINGS)
        fillings = [msgspec.json.decode(each, type=Filling) for each in noted]
        return [_shown(it) for it in sorted(fillings, key=lambda it: (it.state != "Running", it.instance, it.parent))]

    async def filling(self, request: Backfill) -> Filling:
        """How far it has come."""
        with log_errors():
            noted = await self._redis.hget(FILLINGS, request.name)
        known = msgspec.json.decode(noted, type=Filling) if noted else None
        return known if known and known.is_of(request) else Filling.begun(request)

    async def ask(self, request: Backfill) -> Backfill:
        """Has workers begin; where one of this name is under way, that one stays, and is returned."""
        with log_errors():
            if await self._redis.hsetnx(BACKFILLS, request.name, encoded := msgspec.json.encode(request)):
                await self._redis.hset(FILLINGS, request.name, msgspec.json.encode(Filling.begun(request)))
            known = await self._redis.hget(BACKFILLS, request.name)
        return msgspec.json.decode(known or encoded, type=Backfill)

    async def save(self, request: Backfill, filling: Filling) -> bool:
        """Notes how far it has come. False: another request has taken its place."""
        with log_errors():
            async with self._redis.pipeline() as both:
                await both.watch(BACKFILLS)
                known = await both.hget(BACKFILLS, request.name)
                if known is None or msgspec.json.decode(known, type=Backfill) != request:
                    return False
                both.multi()
                both.hset(FILLINGS, request.name, msgspec.json.encode(filling))
                if filling.state != "Running":
                    both.hdel(BACKFILLS, request.name)
                    if request.check:  # of which metrics tell
                        both.hdel(FILLINGS, request.name)
                await both.execute()
        return True


def _shown(it: Filling) -> dict[str, object]:
    since, until = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (it.since, it.until))
    place = {"name": f"{it.parent} of {it.instance}", "state": it.state, "since": since, "until": until}
    return {**place, "projects": it.of, "done": it.finished, "left": it.left, "rows": it.counts, "error": it.error}
