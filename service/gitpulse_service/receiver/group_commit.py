"""Deliveries that wait share one append to the event log: the round trip is the cost, not the work.

The first goes at once, alone; those that arrive meanwhile go together when it is back. Nobody waits for a timer.
"""

from __future__ import annotations

import asyncio

from gitpulse_service.errors import LogUnavailable, ServiceError
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.port import EventLog, Receipt

MOST = 256
"""Deliveries in one append."""
MOST_BYTES = 4 * 1024 * 1024
"""About the most bytes of bodies in one append, so that small deliveries do not wait behind huge ones."""

_Waiter = tuple[Envelope, asyncio.Future[Receipt]]


class GroupCommit:
    """Appends to a log, one call at a time."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiting: list[_Waiter] = []
        self._running: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Kept, because Python 3.11 asks the kernel for the process id whenever it looks for it."""

    async def append(self, envelope: Envelope) -> Receipt:
        """Returns when the delivery is stored. Raises LogUnavailable or LogFull."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append((envelope, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._take())
        finally:
            self._running = None

    def _take(self) -> list[_Waiter]:
        count = size = 0
        while count < min(MOST, len(self._waiting)) and size < MOST_BYTES:
            size += len(self._waiting[count][0].body)
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _commit(self, batch: list[_Waiter]) -> None:
        try:
            receipts = await self._log.append([envelope for envelope, _ in batch])
        except Exception as error:  # noqa: BLE001 -- whatever it is, each of them must hear of it
            if isinstance(error, LogUnavailable):  # those behind them would wait as long, to hear the same
                batch, self._waiting = [*batch, *self._waiting], []
            for _, future in batch:
                if not future.done():
                    future.set_exception(type(error)(*error.args) if isinstance(error, ServiceError) else error)
        else:
            for (_, future), receipt in zip(batch, receipts, strict=True):
                if not future.done():  # its client may have gone
                    future.set_result(receipt)
