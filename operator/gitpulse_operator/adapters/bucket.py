"""A token bucket: so many requests a second on average, with a second's worth at once."""

from __future__ import annotations

import asyncio

from gitpulse_operator.errors import RateLimited

LONGEST_WAIT = 10.0
"""Seconds that a caller is held. Who would wait longer is sent away, so that no worker is kept from other work."""
PAUSE = 60.0
"""Seconds without requests after a 429 that names no time."""


class Bucket:
    """The budget of one connection."""

    def __init__(self, rate: int) -> None:
        self._gap = 1 / rate
        self._next = 0.0

    async def take(self) -> None:
        """Waits until a request may be sent. Raises RateLimited if that is far away."""
        now = asyncio.get_running_loop().time()
        start = max(self._next, now - 1.0)
        if (wait := start - now) > LONGEST_WAIT:
            raise RateLimited("GitLab asked for fewer requests; trying again later", retry_after=wait)
        self._next = start + self._gap
        if wait > 0:
            await asyncio.sleep(wait)

    def pause(self, seconds: float | None) -> None:
        """GitLab has asked for a break."""
        until = asyncio.get_running_loop().time() + (PAUSE if seconds is None else seconds)
        self._next = max(self._next, until)
