"""The teams that the operator knows, as workers read them in Redis."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from gitpulse_service.contract import DIRECTORY_SHARDS, TEAMS, Team, Unsealable, is_complete, unseal
from gitpulse_service.log.connection import log_errors

logger = logging.getLogger(__name__)


class Teams:
    """Whoever made the client closes it."""

    def __init__(self, client: Redis, installation_key: bytes | None) -> None:
        self._redis: Any = client
        self._key = installation_key
        self._seen: dict[bytes, bytes] | None = None

    async def sync(self, take: Callable[[list[Team]], Awaitable[object]]) -> None:
        """Hands all teams over when they are not those of the last time. Raises LogUnavailable, and what `take` does.

        What is not whole, as in a Redis that has lost its data, or does not open, is no news: nobody loses their team.
        """
        async with self._redis.pipeline(transaction=True) as both:
            both.hgetall(TEAMS)
            both.hvals(DIRECTORY_SHARDS)
            with log_errors():
                sealed, shards = await both.execute()
        if sealed == self._seen or not is_complete(shards):
            return
        try:
            teams = [unseal(self._key or b"", place.decode(), sealed[place], Team) for place in sorted(sealed)]
        except Unsealable as error:
            logger.error("the teams stay as they are: %s", error)  # noqa: TRY400
        else:
            await take(teams)
        self._seen = sealed
