"""Wakes the workers: one arq job `drain` for each partition that has something new, not one for each delivery.

A ring that fails is only counted; the delivery is safe, and the worker's sweep finds it.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from gitpulse_service import metrics
from gitpulse_service.log.connection import connect
from gitpulse_service.log.port import Receipt

logger = logging.getLogger(__name__)

JOB = "drain"


class Doorbell:
    """Rings once for each partition and epoch; see `EventLog.close_epoch`."""

    def __init__(self, redis_url: str) -> None:
        pool = connect(redis_url).connection_pool
        self._queue = ArqRedis(pool, job_serializer=msgspec.json.encode, job_deserializer=msgspec.json.decode)
        self._rung: dict[int, int] = {}
        self._ringing: set[asyncio.Task[None]] = set()

    def ring(self, receipt: Receipt) -> None:
        """Starts a ring, unless this epoch of the partition has had one; returns at once."""
        if self._rung.get(receipt.partition) == receipt.epoch:
            return
        self._rung[receipt.partition] = receipt.epoch
        task = asyncio.create_task(self._ring(receipt.partition, receipt.epoch))
        self._ringing.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._ringing.discard)

    async def settle(self) -> None:
        """Waits for the rings that have been started."""
        await asyncio.gather(*self._ringing)

    async def aclose(self) -> None:
        """Finishes what has been started and closes the connections."""
        await self.settle()
        await self._queue.aclose(close_connection_pool=True)

    async def _ring(self, partition: int, epoch: int) -> None:
        try:
            await self._queue.enqueue_job(JOB, partition, _job_id=f"{JOB}:{partition}:{epoch}")
        except (RedisError, OSError, TimeoutError) as error:
            metrics.DOORBELL_FAILURES.inc()
            logger.warning("the workers were not woken: %s", str(error) or type(error).__name__)
            if self._rung.get(partition) == epoch:
                del self._rung[partition]  # the next delivery tries again
