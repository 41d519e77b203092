"""A sender that repeats nothing, as GitLab does not, and remembers what became of each delivery."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

PATIENCE = 10.0
"""Seconds that GitLab waits for an answer."""
_PAUSE = 0.02
"""Seconds between two tries to connect, and at least after a failure, or a dead receiver would use up a round."""


@dataclass(frozen=True)
class Delivery:
    """One request; `name` is its delivery id."""

    name: str
    path: str
    token: str
    body: bytes

    def __bytes__(self) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: gitpulse\r\nContent-Type: application/json\r\n"
            f"X-Gitlab-Event: Push Hook\r\nX-Gitlab-Instance: https://gitlab.example.com\r\n"
            f"X-Gitlab-Token: {self.token}\r\nIdempotency-Key: {self.name}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass
class Sender:
    """Sends each delivery once over some connections. `answered` is called after each outcome, in the event loop."""

    port: int
    answered: Callable[[], None] = lambda: None
    outcomes: dict[str, str] = field(default_factory=dict)
    """Delivery id -> `accepted`, `duplicate`, `503`, `closed` (no answer came, or not in time), or another status."""
    waiting: int = 0
    """Deliveries sent and not answered yet."""
    slowest: float = 0.0
    """Seconds that an answer took at most."""

    def counts(self) -> Counter[str]:
        """How many deliveries had which outcome."""
        return Counter(self.outcomes.values())

    def named(self, outcome: str) -> set[str]:
        """The ids of those with this outcome."""
        return {name for name, found in self.outcomes.items() if found == outcome}

    async def send(self, deliveries: Iterable[Delivery], *, connections: int = 32) -> None:
        """Sends them all. A receiver that cannot be connected to is waited for; nothing was sent then."""
        left = iter(deliveries)
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._connection(left))

    async def _connection(self, left: Iterable[Delivery]) -> None:
        wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for delivery in left:
            while wire is None:
                try:
                    wire = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(_PAUSE)
            self.waiting += 1
            began = time.monotonic()
            try:
                wire[1].write(bytes(delivery))
                async with asyncio.timeout(PATIENCE):
                    outcome = await _outcome(wire[0])
            except (OSError, EOFError, TimeoutError):
                outcome = "closed"
                wire[1].close()
                wire = None
            self.waiting -= 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.outcomes[delivery.name] = outcome
            self.answered()
            if outcome not in ("accepted", "duplicate"):
                await asyncio.sleep(random.uniform(_PAUSE, 5 * _PAUSE))
        if wire is not None:
            wire[1].close()


async def _outcome(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
    status = head.split()[1].decode()
    if status != "200":
        return status
    return next((word for word in ("accepted", "duplicate") if word.encode() in body), "ignored")
