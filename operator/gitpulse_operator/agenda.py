"""Which resource is looked after when: a queue of names that are due now, or at a time.

A name is on it once, however often it is asked for, and is never worked on twice at the same time. What was asked for
goes before what has merely become due. It knows nothing of Kubernetes or GitLab. See docs/decisions/0003.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

ASKED_FOR = float("-inf")


class Agenda(Generic[K]):
    """A delay queue with a fixed number of workers. `work` returns in how many seconds it is due again; None: never."""

    def __init__(self, work: Callable[[K], Awaitable[float | None]], *, workers: int) -> None:
        self._work = work
        self._workers = workers
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._busy: dict[K, tuple[asyncio.Lock, int]] = {}
        self._changed = asyncio.Event()

    def put(self, key: K, delay: float | None = None) -> None:
        """Asks for a run: at once, or after so many seconds unless it is due earlier anyway."""
        when = ASKED_FOR if delay is None else asyncio.get_running_loop().time() + delay
        if when >= self._due.get(key, float("inf")):
            return
        self._due[key] = when
        entry = (when, next(self._order), key)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:  # earlier than what the workers wait for
            self._changed.set()

    def drop(self, key: K) -> None:
        """Takes it off; a run that has begun goes on."""
        self._due.pop(key, None)

    def waiting(self) -> int:
        """How many are due and not yet begun."""
        now = asyncio.get_running_loop().time()
        return sum(when <= now for when in self._due.values())

    @contextlib.asynccontextmanager
    async def exclusive(self, key: K) -> AsyncIterator[None]:
        """While this block runs nobody works on this name."""
        lock, users = self._busy.get(key) or (asyncio.Lock(), 0)
        self._busy[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._busy.pop(key)
            if users > 1:  # kept as long as somebody holds it or waits for it
                self._busy[key] = (lock, users - 1)

    async def run(self) -> None:
        """Works until it is cancelled. What `work` raises ends it: `work` handles its own errors."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            key = await self._next()
            async with self.exclusive(key):
                again = await self._work(key)
            if again is not None:
                self.put(key, again)

    async def _next(self) -> K:
        loop = asyncio.get_running_loop()
        while True:
            wait: float | None = None
            while self._heap:
                when, _, key = self._heap[0]
                if self._due.get(key) == when:
                    if (wait := when - loop.time()) > 0:
                        break
                    heapq.heappop(self._heap)
                    del self._due[key]
                    return key
                heapq.heappop(self._heap)  # superseded by an earlier date, or dropped
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait if self._heap else None):
                    await self._changed.wait()
