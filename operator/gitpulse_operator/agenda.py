"""Which resource is looked after when: a queue of names that are due now, or at a time.

A name is on it once, however often it is asked for, and is never worked on twice at the same time. What was asked for
goes before what has merely become due. It knows nothing of Kubernetes or GitLab. See docs/decisions/0003.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from gitpulse_operator.metrics import QUEUE_ADDS, QUEUE_TIME, WORK_TIME

K = TypeVar("K", bound=Hashable)
When = tuple[bool, float]
"""Whether it has merely become due, and at which time; so what was asked for comes first."""


class Agenda(Generic[K]):
    """A delay queue with a fixed number of workers.

    `work` is told whether it was asked for, and returns in how many seconds it is due again; None: never.
    """

    def __init__(self, work: Callable[[K, bool], Awaitable[float | None]], *, workers: int) -> None:
        self._work = work
        self._workers = workers
        self._ending = False
        self._due: dict[K, When] = {}
        self._heap: list[tuple[When, int, K]] = []
        self._order = itertools.count()
        self._busy: dict[K, tuple[asyncio.Lock, int]] = {}
        self._changed = asyncio.Event()

    def put(self, key: K, delay: float | None = None) -> None:
        """Asks for a run: at once, or after so many seconds unless it is due earlier anyway."""
        when = delay is not None, time.monotonic() + (delay or 0.0)
        if key in self._due and when >= self._due[key]:
            return
        QUEUE_ADDS.inc()
        self._due[key] = when
        entry = (when, next(self._order), key)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:  # earlier than what the workers wait for
            self._changed.set()

    def drop(self, key: K) -> None:
        """Takes it off; a run that has begun goes on."""
        self._due.pop(key, None)

    def waiting(self) -> int:
        """How many are due and not yet begun. May be called in any thread."""
        now = time.monotonic()
        return sum(when <= now for _, when in list(self._due.values()))

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
        workers = [asyncio.create_task(self._serve()) for _ in range(self._workers)]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._ending = True
            await ended(*workers)
        for worker in done:
            worker.result()

    async def _serve(self) -> None:
        while not self._ending:  # a library may swallow the cancellation of a run
            key, asked = await self._next()
            async with self.exclusive(key):
                asked = asked or self._busy[key][1] > 1  # somebody waits for this one to end
                with WORK_TIME.time():
                    again = await self._work(key, asked)
            if again is not None:
                self.put(key, again)

    async def _next(self) -> tuple[K, bool]:
        while True:
            wait: float | None = None
            while self._heap:
                when, _, key = self._heap[0]
                if self._due.get(key) == when:
                    due, at = when
                    if (wait := at - time.monotonic()) > 0:
                        break
                    heapq.heappop(self._heap)
                    del self._due[key]
                    QUEUE_TIME.observe(-wait)
                    return key, not due
                heapq.heappop(self._heap)  # superseded by an earlier date, or dropped
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait if self._heap else None):
                    await self._changed.wait()


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancels these until they are done, however many cancellations they swallow; what they raise then is ignored."""
    interrupted: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=0.1)
        except asyncio.CancelledError as error:  # is passed on when these have ended
            interrupted = error
    await asyncio.gather(*tasks, return_exceptions=True)
    if interrupted:
        raise interrupted
