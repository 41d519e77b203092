"""Empties one partition of the event log into the store: read, decode, write in one transaction, acknowledge.

Each step may be cut off and done again: what was written twice changes nothing, what was not acknowledged is read
again. It knows the log's port and the store; it does not know arq, nor who rang.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service import metrics, traces
from gitpulse_service.errors import ServiceError, StoreRefused, Undecodable
from gitpulse_service.events.classify import kind_name
from gitpulse_service.events.decode import Event, decode
from gitpulse_service.log.live import Live
from gitpulse_service.log.port import Entry, EventLog
from gitpulse_service.store import keys
from gitpulse_service.store.write import apply

logger = logging.getLogger(__name__)

Batch: TypeAlias = Sequence[tuple[Entry, Event | None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is written in one transaction."""

    events: int
    bytes: int


class Drain:
    """One process's drains. At most one a partition runs at a time; a second one waits and takes what is left."""

    def __init__(
        self, log: EventLog, engine: AsyncEngine, *, consumer: str, limits: Limits, live: Live | None = None
    ) -> None:
        self._log = log
        self._engine = engine
        self._live = live
        self._consumer = consumer
        self._limits = limits
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stopped = False

    def stop(self) -> None:
        """Lets every drain end after the batch in hand."""
        self._stopped = True

    async def run(self, partition: int, *, seconds: float) -> bool:
        """Drains until nothing is left (True), or until the time is up or it is stopped (False: ring again).

        Cancelled, it still finishes the batch in hand. Raises LogUnavailable, StoreUnavailable.
        """
        async with self._turns[partition]:
            end = time.monotonic() + seconds
            while not self._stopped and time.monotonic() < end:
                entries = await self._read(partition)
                if not entries:
                    return True
                await _finish(self._count(entries))
            return False

    async def _read(self, partition: int) -> list[Entry]:
        if entries := await self._take(partition):
            return entries
        await self._log.close_epoch(partition)  # whoever stores from here on rings again, so this look is the last
        return await self._take(partition)

    async def _take(self, partition: int) -> list[Entry]:
        limits = self._limits
        return await self._log.read(partition, consumer=self._consumer, count=limits.events, size=limits.bytes)

    async def _count(self, entries: Sequence[Entry]) -> None:
        batch: list[tuple[Entry, Event | None]] = []
        with traces.draining(entry.envelope.trace for entry in entries):
            for entry in entries:
                try:
                    batch.append((entry, decode(entry.envelope)))
                except Undecodable as error:
                    await self._bury(entry, "undecodable", error)
            if batch:
                await self._write(batch)

    async def _write(self, batch: Batch) -> None:
        """Writes and acknowledges a batch; one that the database refuses is halved until the culprit stands alone."""
        try:
            await apply(self._engine, [(entry.envelope, event) for entry, event in batch])
        except StoreRefused as error:
            if len(batch) == 1:
                await self._bury(batch[0][0], "refused", error)
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        await self._log.acknowledge([entry for entry, _ in batch])
        metrics.BATCH_EVENTS.observe(len(batch))
        now, projects, kinds = time.time(), set(), set()
        told: Counter[tuple[str, str]] = Counter()
        for entry, event in batch:
            kind = kind_name(entry.envelope.event, entry.envelope.body)
            told[kind, "uncounted" if event is None else "counted"] += 1
            metrics.COUNTED_AFTER.observe(max(0.0, now - entry.envelope.received_at / 1000))
            if event is not None and event.gitlab_project_id:
                projects.add((entry.envelope.instance, event.gitlab_project_id))
                kinds.add(kind)
        for (kind, outcome), count in told.items():
            metrics.EVENTS.labels(kind, outcome).inc(count)
        if self._live:
            await self._live.tell([keys.project(*project) for project in projects], kinds)

    async def _bury(self, entry: Entry, outcome: str, error: ServiceError) -> None:
        logger.warning("delivery %s goes to the dead letters: %s", entry.job_id, error)
        await self._log.bury(entry, f"{error.reason}: {error}")
        metrics.EVENTS.labels(kind_name(entry.envelope.event, entry.envelope.body), outcome).inc()


async def _finish(work: Coroutine[None, None, None]) -> None:
    """Runs it to its end even when the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            logger.warning("the last batch will be counted again later: %s", error)
        raise
