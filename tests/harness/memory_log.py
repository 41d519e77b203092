"""The event log's port, kept in memory: a second implementation, for those who ask a million times."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from gitpulse_service.errors import LogFull, ServiceError
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.codec import encode
from gitpulse_service.log.port import Entry, Receipt, Survey


class MemoryLog:
    """One process's log. It forgets no delivery id; `fails_with` is raised by every call until it is None again."""

    def __init__(self, *, partitions: int = 16, max_backlog: int = 1_000_000) -> None:
        self.entries: dict[str, Envelope] = {}
        """Job id -> what is stored and not acknowledged."""
        self.dead: list[tuple[str, str, Envelope]] = []
        """Job id (empty: never stored), reason, delivery."""
        self.refused: dict[str, str] = {}
        self.fails_with: ServiceError | None = None
        self._partitions, self._limit = partitions, max_backlog
        self._seen: dict[tuple[str, str], str] = {}
        self._holders: dict[str, str] = {}
        self._epochs: dict[int, int] = {}
        self._last = 0

    async def append(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        self._fail()
        if envelopes and len(self.entries) + len(envelopes) > self._limit:
            raise LogFull("the backlog limit is reached")
        return [self._append(envelope) for envelope in envelopes]

    def _append(self, envelope: Envelope) -> Receipt:
        partition = zlib.crc32(envelope.hook_id.encode()) % self._partitions
        name = envelope.hook_id, envelope.delivery_id
        known = self._seen.get(name)
        if known is None:
            self._last += 1
            self._seen[name] = f"{partition}-{self._last}-0"
            self.entries[self._seen[name]] = envelope
        return Receipt(self._seen[name], known is not None, partition, self._epochs.get(partition, 0))

    async def note_refused(self, hook_id: str, reason: str) -> None:
        self._fail()
        self.refused[hook_id] = reason

    async def read(self, partition: int, *, consumer: str, count: int, size: int) -> list[Entry]:
        self._fail()
        taken: list[Entry] = []
        for job, envelope in self.entries.items():
            if job.startswith(f"{partition}-") and self._holders.setdefault(job, consumer) == consumer:
                taken.append(Entry(job, envelope, len(encode(envelope))))
                size -= len(envelope.body)
                if len(taken) >= count or size <= 0:
                    break
        return taken

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        self._fail()
        for entry in entries:
            self.entries.pop(entry.job_id, None)

    async def bury(self, entry: Entry, reason: str) -> None:
        self._fail()
        self.dead.append((entry.job_id, reason, entry.envelope))
        self.entries.pop(entry.job_id, None)

    async def bury_unread(self, envelope: Envelope, reason: str) -> None:
        self._fail()
        self.dead.append(("", reason, envelope))

    async def close_epoch(self, partition: int) -> None:
        self._fail()
        self._epochs[partition] = self._epochs.get(partition, 0) + 1

    async def backlog(self) -> dict[int, int]:
        self._fail()
        found = dict.fromkeys(range(self._partitions), 0)
        for job in self.entries:
            found[int(job.partition("-")[0])] += 1
        return found

    async def survey(self) -> Survey:
        waiting = await self.backlog()
        size = sum(len(encode(envelope)) for envelope in self.entries.values())
        return Survey(waiting, dict.fromkeys(waiting, 0.0), size, 0.0, len(self.dead))

    def clear(self) -> None:
        """Forgets all."""
        for kept in (self.entries, self.dead, self.refused, self._seen, self._holders, self._epochs):
            kept.clear()

    def _fail(self) -> None:
        if self.fails_with is not None:
            raise type(self.fails_with)(*self.fails_with.args)
