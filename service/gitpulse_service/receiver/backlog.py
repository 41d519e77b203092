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
