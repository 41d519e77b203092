"""A token bucket: so many requests a second on average, with a second's worth at once, the most urgent first."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from gitpulse_operator.errors import RateLimited
from gitpulse_operator.priority import Priority, current

LONGEST_WAIT = 10.0
"""Seconds that a caller is held. Who would wait longer is sent away, so that no worker is kept from other work."""
PAUSE = 60.0
"""Seconds without requests after a 429 that names no time."""


class Bucket:
    """The budget of one connection."""

    def __init__(self, rate: int) -> None:
        self._gap = 1 / rate
        self._next = 0.0  # when the next request may be sent, by the loop's clock
        self._waiting: dict[Priority, deque[asyncio.Future[None]]] = {priority: deque() for priority in Priority}
        self._timer: asyncio.TimerHandle | None = None

    def left(self) -> float:
        """The share of a second's worth of requests that could be sent at once, 0 to 1. May be called in any thread."""
        return min(max(time.monotonic() - self._next, 0.0), 1.0)

    async def take(self) -> None:
        """Waits until a request may be sent. Raises RateLimited if that is far away."""
        loop, urgency = asyncio.get_running_loop(), current()
        self._next = max(self._next, loop.time() - 1.0)
        ahead = sum(len(queue) for other, queue in self._waiting.items() if other <= urgency.priority)
        if (wait := self._next + ahead * self._gap - loop.time()) > LONGEST_WAIT:
            raise _too_far(wait)
        if wait <= 0:
            self._next += self._gap
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting[urgency.priority].append(turn)

        def grown(before: Priority) -> None:
            if turn in self._waiting[before]:
                self._waiting[before].remove(turn)
                self._waiting[urgency.priority].append(turn)

        urgency.grown = grown
        if self._timer is None:
            self._release()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting[urgency.priority]:
                self._waiting[urgency.priority].remove(turn)
            elif not turn.cancelled() and not turn.exception():  # it had come just now
                self._next -= self._gap
                self._release()
            raise
        finally:
            urgency.grown = None

    def spend(self, requests: int) -> None:
        """So many were sent beyond the one that `take` let go; who comes next waits for them, but is not sent away."""
        latest = asyncio.get_running_loop().time() + LONGEST_WAIT / 2
        self._next = max(self._next, min(self._next + requests * self._gap, latest))

    def pause(self, seconds: float | None) -> None:
        """GitLab has asked for a break. Who waits is held too, or sent away if it is long."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now + (PAUSE if seconds is None else seconds))
        if (wait := self._next - now) > LONGEST_WAIT:
            for queue in self._waiting.values():
                while queue:
                    if not (turn := queue.popleft()).done():
                        turn.set_exception(_too_far(wait))

    def _release(self) -> None:
        """Lets those go whose turn it is, and comes back for the next."""
        loop = asyncio.get_running_loop()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while queue := next(filter(None, self._waiting.values()), None):
            if self._next > loop.time():
                self._timer = loop.call_at(self._next, self._release)
                return
            if not (turn := queue.popleft()).done():  # else it was cancelled just now, and takes nothing
                self._next += self._gap
                turn.set_result(None)


def _too_far(wait: float) -> RateLimited:
    return RateLimited("GitLab asked for fewer requests; trying again later", retry_after=wait)
