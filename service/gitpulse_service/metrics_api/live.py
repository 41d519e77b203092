"""Live updates: one subscription a process, and for each reader what it has not been told yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeAlias

News: TypeAlias = tuple[frozenset[int], frozenset[str]]
"""Keys of projects, and kinds of events."""

PAUSE = 0.2
"""Seconds between two updates to a reader; what comes meanwhile is told together, so a slow one costs no more."""


class _Reader:
    def __init__(self) -> None:
        self.projects: set[int] = set()
        self.kinds: set[str] = set()
        self.woken = asyncio.Event()


class Hub:
    """Hands on what was counted. `updates` makes the subscription."""

    def __init__(self, updates: Callable[[], AsyncIterator[News]]) -> None:
        self._updates = updates
        self._readers: set[_Reader] = set()
        self._closed = False

    async def run(self) -> None:
        """Listens until it is cancelled."""
        async for projects, kinds in self._updates():
            for reader in self._readers:
                reader.projects |= projects
                reader.kinds |= kinds
                reader.woken.set()

    def close(self) -> None:
        """Ends every reader's stream: a server that stops waits for them."""
        self._closed = True
        for reader in self._readers:
            reader.woken.set()

    async def read(self) -> AsyncGenerator[News, None]:
        """News from now on, until the hub is closed."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            while not self._closed:
                await reader.woken.wait()
                reader.woken.clear()
                if reader.projects:
                    news = frozenset(reader.projects), frozenset(reader.kinds)
                    reader.projects, reader.kinds = set(), set()
                    yield news
                    await asyncio.sleep(PAUSE)
        finally:
            self._readers.discard(reader)
