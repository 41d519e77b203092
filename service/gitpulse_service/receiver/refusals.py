"""Notes for the operator that deliveries were refused, written behind the answer's back.

A refusal must not take longer for a hook that exists than for one that does not, and a flood of them must not become
a flood of writes: the latest reason of each hook is written, at most a few times a second.
"""

from __future__ import annotations

import asyncio

from gitpulse_service import metrics
from gitpulse_service.errors import LogUnavailable
from gitpulse_service.log.port import EventLog

PAUSE = 0.2
"""Seconds between two rounds of writing."""


class RefusalNotes:
    """Keeps the newest reason of each known hook until `run` has written it."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._pending: dict[str, str] = {}
        self._some = asyncio.Event()

    def note(self, hook_id: str, reason: str) -> None:
        """Remembers a refusal of a known hook; returns at once."""
        self._pending[hook_id] = reason
        self._some.set()

    async def run(self) -> None:
        """Writes notes until it is cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            pending, self._pending = self._pending, {}
            for hook_id, reason in pending.items():
                try:
                    await self._log.note_refused(hook_id, reason)
                except LogUnavailable:
                    metrics.NOTE_FAILURES.inc()
            await asyncio.sleep(PAUSE)
