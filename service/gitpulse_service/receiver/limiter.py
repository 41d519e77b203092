"""Limits on how often something may happen, shared by all receivers through Redis and asked without waiting for it.

Each receiver counts in memory and settles with Redis behind the answer's back, in tenths of the limit. So alone it is
exact; of several, each may let through up to a tenth, and what comes while it settles, beyond the limit. Redis hears
of an address about ten times a window, however many requests there are; while it is away, each limits by its own count.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse_many
from limits.aio.storage import RedisStorage

from gitpulse_service import metrics
from gitpulse_service.contract import SettingsError
from gitpulse_service.errors import LogUnavailable
from gitpulse_service.log.connection import connect, log_errors

logger = logging.getLogger(__name__)

MOST = 20_000
"""Keys that are remembered, about 5 MB. Of more, the oldest are forgotten; Redis tells again at their next tenth."""
PREFIX = "gitpulse:limits"
"""Of the keys in Redis; each lives for one window."""
_PAUSE = 1.0
"""Seconds without a try after Redis could not be reached."""


def rate(variable: str, text: str) -> RateLimitItem | None:
    """A limit such as `100/minute` or `1000 per 2 hours`; empty: none. Raises SettingsError, naming the variable."""
    if not text.strip():
        return None
    try:
        (item,) = parse_many(text)
    except ValueError:
        item = None
    if item is None or item.amount < 1:
        raise SettingsError(f"{variable}: is no limit; write one such as 100/minute, or nothing for no limit") from None
    return item


@dataclass(slots=True)
class _Window:
    until: float
    """On the monotonic clock."""
    known: int = 0
    """Requests of all receivers, as Redis said last."""
    pending: int = 0
    """Requests since then, of this receiver."""


class Limiter:
    """Counts by key, in fixed windows that begin with a key's first request. `item` None: no limit.

    `name` keeps the counts of several limiters apart.
    """

    def __init__(self, redis_url: str, name: str, item: RateLimitItem | None) -> None:
        self._redis = connect(redis_url)
        pool: Any = self._redis.connection_pool  # the URL has nothing to add; the library would not take unix://
        self._storage = RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)
        self._name, self._item = name, item
        self._step = max(1, item.amount // 10) if item else 0
        self._windows: dict[str, _Window] = {}
        self._due: set[str] = set()
        self._some = asyncio.Event()

    def hit(self, key: str) -> int:
        """Counts a request; the seconds to wait if it is one too many, else 0. Returns at once."""
        item = self._item
        if item is None:
            return 0
        now = time.monotonic()
        window = self._windows.get(key)
        if window is None or window.until <= now:
            window = self._open(key, now + item.get_expiry())
        if window.known + window.pending <= item.amount:  # beyond that there is nothing more to know
            window.pending += 1
            over = window.known + window.pending > item.amount
            if over:
                logger.warning("over the limit of %s", item, extra={"fields": {"limit": self._name, "key": key[:64]}})
            if over or window.pending >= self._step:
                self._due.add(key)
                self._some.set()
        return math.ceil(window.until - now) if window.known + window.pending > item.amount else 0

    async def run(self) -> None:
        """Settles with Redis, one call at a time, until it is cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._due:
                key = self._due.pop()
                if window := self._windows.get(key):
                    try:
                        with log_errors():
                            await self._settle(key, window)
                    except LogUnavailable:
                        metrics.LIMIT_FAILURES.inc()
                        await asyncio.sleep(_PAUSE)

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._redis.aclose()

    def _open(self, key: str, until: float) -> _Window:
        self._windows.pop(key, None)  # the new one is the youngest, and goes to the end
        if len(self._windows) >= MOST:
            del self._windows[next(iter(self._windows))]
        window = self._windows[key] = _Window(until)
        return window

    async def _settle(self, key: str, window: _Window) -> None:
        assert self._item is not None
        counted, name = window.pending, self._item.key_for(self._name, key)
        window.known = await self._storage.incr(name, self._item.get_expiry(), amount=counted)
        window.pending -= counted
        if window.known > self._item.amount:
            # The window that counts is the one in Redis. It tells in whole seconds, and none may still be one.
            window.until = time.monotonic() + max(1.0, await self._storage.get_expiry(name) - time.time())
