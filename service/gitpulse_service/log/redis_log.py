"""The event log on Redis (or Valkey) Streams: one stream a partition, one consumer group of drains.

An entry stays in its stream until it is acknowledged, so that a stream's length is its backlog. The bytes that wait are
kept beside it by the scripts that add and remove entries; those of an empty stream count as none.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib import resources
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gitpulse_service import metrics
from gitpulse_service.contract import feedback_key
from gitpulse_service.errors import LogFull
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.group import HEADERS as OF_GROUPS
from gitpulse_service.log.codec import Corrupt, decode, encode
from gitpulse_service.log.connection import connect, log_errors
from gitpulse_service.log.port import Entry, Receipt, Survey
from gitpulse_service.settings import ServiceSettings

GROUP = "drain"
EPOCHS = "gitpulse:epochs"
"""Hash: partition -> drain epoch."""
WAITING = "gitpulse:waiting"
"""Hash: partition -> bytes that wait there."""
DEAD = "gitpulse:dead"
"""Stream of dead letters: `job` (empty if it was never stored), `reason`, `at` in Unix milliseconds, `entry`."""
DEAD_KEPT = 10_000
"""About how many dead letters are kept; the oldest go first."""
FEEDBACK_KEPT = 30 * 24 * 3600
"""Seconds for which a hook's notes outlive its last delivery."""

CALL_TIMEOUT = 4.0
"""Seconds that an append may take, with all the connecting that it needs."""

_BIG = 256 * 1024
"""Bytes of body above which compressing is worth a thread."""
_CHUNK = 32
"""Entries fetched at a time, so that a batch cut by size does not load much more than it takes."""


def stream(partition: int) -> str:
    """The key of a partition's stream."""
    return f"gitpulse:log:{partition}"


def partition_of(hook_id: str, partitions: int) -> int:
    """All deliveries of a hook are in one partition."""
    return zlib.crc32(hook_id.encode()) % partitions


def seen_key(envelope: Envelope) -> str:
    """The key that remembers a delivery within the dedupe window; its value is the job id."""
    return f"gitpulse:seen:{envelope.hook_id}:{envelope.delivery_id}"


def script(client: Redis, name: str) -> Any:  # noqa: ANN401 -- see RedisEventLog
    """One of the Lua files here; it loads itself again when Redis has forgotten it, after a restart or a failover."""
    return client.register_script(resources.files(__package__).joinpath(f"{name}.lua").read_text())


class RedisEventLog:
    """`EventLog` on one Redis. Close it when done."""

    def __init__(
        self,
        client: Redis,
        *,
        partitions: int,
        dedupe_window: int,
        max_backlog: int,
        max_backlog_bytes: int,
        claim_idle: float,
    ) -> None:
        self._redis: Any = client  # the library's own types differ from version to version
        self._partitions = partitions
        self._limits = (dedupe_window, max_backlog, max_backlog_bytes, FEEDBACK_KEPT)
        self._idle_ms = max(1, int(claim_idle * 1000))
        self._streams = tuple(stream(p) for p in range(partitions))
        self._accept, self._acknowledge, self._bury, self._survey = (
            script(client, name) for name in ("accept", "acknowledge", "bury", "survey")
        )

    @classmethod
    def from_settings(cls, settings: ServiceSettings) -> Self:
        """A log that connects when it is first used."""
        return cls(
            connect(settings.redis_url),
            partitions=settings.partitions,
            dedupe_window=settings.dedupe_window,
            max_backlog=settings.max_backlog,
            max_backlog_bytes=settings.max_backlog_bytes,
            claim_idle=settings.claim_idle,
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    # --- the receiver's side ------------------------------------------------------------------------------------------

    async def append(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        if not envelopes:
            return []
        partitions = [self._partition(e) for e in envelopes]
        notes = {(feedback_key(e.hook_id), f"accepted:{e.generation}"): e.received_at for e in envelopes}
        notes |= {(feedback_key(e.hook_id), "changed"): e.received_at for e in envelopes if e.event in OF_GROUPS}
        keys = [EPOCHS, WAITING, *self._streams, *map(seen_key, envelopes), *(key for key, _ in notes)]
        arguments: list[str | bytes | int] = [self._partitions, len(envelopes), len(notes), *self._limits]
        for partition, envelope in zip(partitions, envelopes, strict=True):
            big = len(envelope.body) > _BIG
            arguments += partition, await asyncio.to_thread(encode, envelope) if big else encode(envelope)
        for (_, field), received_at in notes.items():
            arguments += field, received_at
        with log_errors():
            async with asyncio.timeout(CALL_TIMEOUT):
                answer = await self._accept(keys, arguments)
        if answer is None:
            raise LogFull("the backlog limit is reached: start more workers, or raise GITPULSE_MAX_BACKLOG(_BYTES)")
        return [
            Receipt(answer[3 * i].decode(), bool(answer[3 * i + 1]), partition, answer[3 * i + 2])
            for i, partition in enumerate(partitions)
        ]

    async def note_refused(self, hook_id: str, reason: str) -> None:
        key = feedback_key(hook_id)
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(key, mapping={"refused": _now(), "refused:reason": reason})
        pipe.expire(key, FEEDBACK_KEPT)
        with log_errors():
            await pipe.execute()

    async def bury_unread(self, envelope: Envelope, reason: str) -> None:
        with log_errors():
            fields = ("job", "", "reason", reason, "at", _now(), "entry", encode(envelope))
            await self._redis.execute_command("XADD", DEAD, "MAXLEN", "~", DEAD_KEPT, "*", *fields)
        metrics.BURIED.labels(reason).inc()

    # --- the worker's side --------------------------------------------------------------------------------------------

    async def read(self, partition: int, *, consumer: str, count: int, size: int) -> list[Entry]:
        entries: dict[str, Entry] = {}
        taken = 0
        with log_errors():
            async with aclosing(self._candidates(stream(partition), consumer, min(count, _CHUNK))) as found:
                async for entry_id, fields in found:
                    job_id, stored = f"{partition}-{entry_id.decode()}", fields.get(b"entry", b"")
                    try:
                        entry = Entry(job_id, decode(stored), len(stored))
                    except Corrupt:
                        await self._move(job_id, Corrupt.__name__)
                        continue
                    entries[job_id] = entry
                    taken += len(entry.envelope.body)
                    if len(entries) >= count or taken >= size:
                        break
        return list(entries.values())

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        held: dict[int, list[str | int]] = {}
        for entry in entries:
            partition, entry_id = _place(entry.job_id)
            held.setdefault(partition, []).extend((entry_id, entry.size))
        with log_errors():
            for partition, done in held.items():
                await self._acknowledge([WAITING, stream(partition)], [GROUP, partition, *done])

    async def bury(self, entry: Entry, reason: str) -> None:
        with log_errors():
            await self._move(entry.job_id, reason)

    async def close_epoch(self, partition: int) -> None:
        with log_errors():
            await self._redis.execute_command("HINCRBY", EPOCHS, partition, 1)

    async def backlog(self) -> dict[int, int]:
        pipe = self._redis.pipeline(transaction=False)
        for key in self._streams:
            pipe.xlen(key)
        with log_errors():
            return dict(enumerate(await pipe.execute()))

    async def survey(self) -> Survey:
        with log_errors():
            dead, size, *found = await self._survey([WAITING, DEAD, *self._streams])
        ages = {partition: age / 1000 for partition, age in enumerate(found[1::2])}
        _, most, most_bytes, _ = self._limits
        full = max(sum(found[::2]) / most, size / most_bytes)
        return Survey(dict(enumerate(found[::2])), ages, size, full, dead)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _partition(self, envelope: Envelope) -> int:
        return partition_of(envelope.hook_id, self._partitions)

    async def _candidates(
        self, key: str, consumer: str, chunk: int
    ) -> AsyncGenerator[tuple[bytes, dict[bytes, bytes]], None]:
        """Entries for this consumer, from now on held by it: its own, then those of the dead, then new ones."""
        cursor: str | bytes = "0"
        while found := await self._read_group(key, consumer, cursor, chunk):
            cursor = found[-1][0]
            for entry_id, fields in found:
                if fields:
                    yield entry_id, fields
                else:  # somebody deleted it by hand; it is held in name only
                    await self._redis.execute_command("XACK", key, GROUP, entry_id)
        cursor = "0-0"
        while True:
            reply = await self._redis.execute_command(
                "XAUTOCLAIM", key, GROUP, consumer, self._idle_ms, cursor, "COUNT", chunk
            )
            cursor = reply[0]
            for entry_id, fields in reply[1]:
                if fields:  # what was deleted by hand shows up among our own next time
                    yield entry_id, fields
            if cursor == b"0-0":
                break
        while found := await self._read_group(key, consumer, ">", chunk):
            for entry_id, fields in found:
                yield entry_id, fields

    async def _read_group(self, key: str, consumer: str, after: str | bytes, count: int) -> list[Any]:
        command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", key, after)
        try:
            reply = await self._redis.execute_command(*command)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._create_group(key)
            reply = await self._redis.execute_command(*command)
        return reply[0][1] if reply else []

    async def _create_group(self, key: str) -> None:
        try:
            await self._redis.execute_command("XGROUP CREATE", key, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another worker was faster
                raise

    async def _move(self, job_id: str, reason: str) -> None:
        partition, entry_id = _place(job_id)
        keys, about = [WAITING, stream(partition), DEAD], [reason, _now(), DEAD_KEPT]
        if await self._bury(keys, [GROUP, partition, entry_id, *about]):
            metrics.BURIED.labels(reason.partition(":")[0]).inc()


def _place(job_id: str) -> tuple[int, str]:
    partition, _, entry_id = job_id.partition("-")
    return int(partition), entry_id


def _now() -> int:
    return time.time_ns() // 1_000_000
