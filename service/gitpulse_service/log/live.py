"""What was counted just now, told by workers to whoever listens: a short stream in Redis that forgets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Any, TypeAlias

import msgspec
from redis.asyncio import Redis

from gitpulse_service.errors import LogUnavailable
from gitpulse_service.events.classify import Kind, kind_name
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.connection import log_errors

logger = logging.getLogger(__name__)

COUNTED = "gitpulse:counted"
"""Stream of `news`: a JSON list of the keys of projects, and one of the kinds of events."""
KEPT = 256
"""About how many batches are kept. A reader whose connection breaks goes on where it was, not with what is newest."""
WAIT_MS = 1000
"""For how long one call waits for news; shorter than a call may take."""
PAUSE = 1.0
"""Seconds between two tries while Redis is away."""

News: TypeAlias = tuple[frozenset[int], frozenset[str]]
"""Keys of projects (`store.keys.project`), and kinds of events."""


class Live:
    """The stream's two ends. Whoever made the client closes it."""

    def __init__(self, client: Redis) -> None:
        self._redis: Any = client

    async def tell(self, projects: Collection[int], kinds: Collection[str]) -> None:
        """Tells of a batch that is written. Where Redis is away it is not told: the numbers are there all the same."""
        news = msgspec.json.encode((sorted(projects), sorted(kinds)))
        with contextlib.suppress(LogUnavailable), log_errors():
            await self._redis.execute_command("XADD", COUNTED, "MAXLEN", "~", KEPT, "*", "news", news)

    async def tell_fetched(self, project: int, deliveries: Iterable[Envelope]) -> None:
        """The same of what GitLab was asked for; without deliveries it was about pushes and their commits."""
        await self.tell([project], {kind_name(it.event, it.body) for it in deliveries} or {Kind.PUSH.value})

    async def updates(self) -> AsyncGenerator[News, None]:
        """News from now on, until the caller stops to ask; while Redis is away, none."""
        last: bytes = b"$"
        while True:
            try:
                with log_errors():
                    if last == b"$":  # else what comes between two calls would be missed
                        newest = await self._redis.execute_command("XREVRANGE", COUNTED, "+", "-", "COUNT", 1)
                        last = newest[0][0] if newest else b"0-0"
                    reply = await self._redis.execute_command("XREAD", "BLOCK", WAIT_MS, "STREAMS", COUNTED, last)
            except LogUnavailable as error:
                logger.info("no live updates for now: %s", error)
                await asyncio.sleep(PAUSE)
                continue
            for last, fields in reply[0][1] if reply else ():  # noqa: B007 -- where to go on
                yield msgspec.json.decode(fields[b"news"], type=News)
