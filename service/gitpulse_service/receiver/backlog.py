"""Looks at the event log now and then, so that what waits can be seen even where no worker lives."""

from __future__ import annotations

import asyncio

from gitpulse_service import metrics
from gitpulse_service.errors import LogUnavailable
from gitpulse_service.log.port import EventLog

PAUSE = 5.0
"""Seconds between two looks."""


async def watch(log: EventLog) -> None:
    """Keeps the metrics of the backlog current until it is cancelled."""
    while True:
        try:
            found = await log.survey()
        except LogUnavailable:
            metrics.LOG_REACHABLE.set(0)
        else:
            metrics.LOG_REACHABLE.set(1)
            metrics.BACKLOG_BYTES.set(found.bytes)
            metrics.BACKLOG_FULL.set(found.full)
            metrics.DEAD_LETTERS.set(found.dead_letters)
            for partition, waiting in found.deliveries.items():
                metrics.BACKLOG_DELIVERIES.labels(partition).set(waiting)
                metrics.BACKLOG_OLDEST.labels(partition).set(found.oldest[partition])
        await asyncio.sleep(PAUSE)


async def health(log: EventLog) -> dict[str, float]:
    """What waits to be counted, for people: `deliveries`, `bytes`, `oldest` in seconds, and `dead_letters`."""
    found = await log.survey()
    waiting, oldest = sum(found.deliveries.values()), max(found.oldest.values(), default=0.0)
    return {"deliveries": waiting, "bytes": found.bytes, "oldest": oldest, "dead_letters": found.dead_letters}
