"""The durable event log: what the receiver appends to and the worker reads from, whatever keeps it.

P partitions, each a queue of deliveries that stay until they are acknowledged. A delivery is in the log exactly once
within the dedupe window; the store makes that exact for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gitpulse_service.events.envelope import Envelope


class Receipt(msgspec.Struct, frozen=True):  # as cheap to make as it gets: there is one for each delivery
    """The log's answer to one delivery."""

    job_id: str
    """`<partition>-<entry id>`: the place in the log; for a duplicate, that of the first one."""
    duplicate: bool
    partition: int
    epoch: int
    """The partition's drain epoch when the delivery was stored; see `EventLog.close_epoch`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivery as a worker reads it."""

    job_id: str
    envelope: Envelope
    size: int
    """Bytes that it takes in the log."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What waits in the log."""

    deliveries: dict[int, int]
    """By partition: not yet acknowledged, those in a consumer's hands included."""
    oldest: dict[int, float]
    """By partition: age of the oldest of them, seconds by the log's own clock; 0 where there is none."""
    bytes: int
    """Of all of them, as they are stored."""
    full: float
    """Share of the limit that is nearer; at 1 nothing more is taken."""
    dead_letters: int


class EventLog(Protocol):
    """Every method raises `LogUnavailable` when the log cannot be reached; `append` raises `LogFull` at a limit."""

    async def append(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """Stores each delivery or finds it stored already, and notes the hook's feedback, in one step."""
        ...

    async def note_refused(self, hook_id: str, reason: str) -> None:
        """Notes for the operator that a delivery for this hook was refused."""
        ...

    async def read(self, partition: int, *, consumer: str, count: int, size: int) -> list[Entry]:
        """Takes up to `count` deliveries, about `size` bytes, for this consumer.

        First those it already holds, then those whose holder is gone, then new ones.
        """
        ...

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Removes deliveries that are counted."""
        ...

    async def bury(self, entry: Entry, reason: str) -> None:
        """Moves a delivery that can never be counted to the dead letters."""
        ...

    async def bury_unread(self, envelope: Envelope, reason: str) -> None:
        """Keeps a copy of an authentic delivery that the receiver had to refuse."""
        ...

    async def close_epoch(self, partition: int) -> None:
        """Ends a drain's turn: whoever stores from now on gets a new epoch and rings again.

        A drain that closes its epoch and *then* finds nothing to read may stop: what was stored before is seen by that
        read, what is stored after rings under the new epoch.
        """
        ...

    async def backlog(self) -> dict[int, int]:
        """Deliveries not yet acknowledged, by partition, those in a consumer's hands included."""
        ...

    async def survey(self) -> Survey:
        """The same with ages, bytes and dead letters, in one call."""
        ...
