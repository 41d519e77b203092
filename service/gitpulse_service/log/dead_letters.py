"""The dead letters: deliveries that could not be counted, to be looked at, put back or dropped by a person."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from gitpulse_service.errors import WrongLetter
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.codec import Corrupt, decode
from gitpulse_service.log.connection import log_errors
from gitpulse_service.log.redis_log import DEAD, WAITING, partition_of, script, stream

CHUNK = 20
"""Letters fetched at a time; each may have 25 MiB."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    id: str
    job_id: str
    """Where it was in the log; empty: it was never stored there, because it was malformed."""
    reason: str
    at: datetime
    """When it was buried."""
    envelope: Envelope | None
    """None: nobody can read it."""
    body: bytes
    """What GitLab sent; of an entry that nobody can read, the entry."""

    @property
    def refusal(self) -> str:
        """Why it cannot be put back; empty: it can."""
        if self.envelope is None:
            return "its entry is damaged, so that there is nothing to count; look at it with `show --raw`, then drop it"
        if not self.job_id:
            return f"it was malformed ({self.reason}) and never stored, so that there is nothing to count; drop it"
        return ""

    def summary(self) -> dict[str, str | int]:
        """What a list shows: id, when, hook, event, reason, size (bytes of the body)."""
        found = self.envelope
        return {
            "id": self.id,
            "when": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "hook": (found.hook_id or "(by hand)") if found else "",
            "event": found.event if found else "",
            "reason": self.reason,
            "size": len(self.body),
        }

    def headers(self) -> dict[str, str]:
        """What is known of the delivery beside its body. The secret that proved it was never kept."""
        about = {"reason": self.reason, "buried": f"{self.at:%Y-%m-%dT%H:%M:%SZ}", "job": self.job_id}
        if found := self.envelope:
            about |= {"hook": found.hook_id, "generation": str(found.generation)}
            about |= {"received": f"{_moment(found.received_at):%Y-%m-%dT%H:%M:%SZ}", "webhook-id": found.delivery_id}
            about |= {"X-Gitlab-Event": found.event, "X-Gitlab-Instance": found.instance}
        return {name: value for name, value in about.items() if value}

    def pretty(self) -> str:
        """The body as indented JSON, or as text where it is none."""
        try:
            return json.dumps(json.loads(self.body), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.body.decode(errors="backslashreplace")


class DeadLetters:
    """Raises LogUnavailable. Whoever made the client closes it."""

    def __init__(self, client: Redis, partitions: int) -> None:
        self._redis: Any = client
        self._partitions = partitions
        self._retry = script(client, "retry")

    async def newest(self, limit: int | None = None) -> AsyncIterator[Letter]:
        """At most so many, the newest first."""
        end = "+"
        while limit is None or limit > 0:
            count = CHUNK if limit is None else min(CHUNK, limit)
            with log_errors():
                found = await self._redis.execute_command("XREVRANGE", DEAD, end, "-", "COUNT", count)
            if not found:
                return
            for letter_id, fields in found:
                yield _letter(letter_id, fields)
            end = f"({found[-1][0].decode()}"
            limit = None if limit is None else limit - len(found)

    async def find(self, ids: Iterable[str]) -> list[Letter]:
        """These, in this order. Raises WrongLetter, naming the first that is not there."""
        letters = []
        for letter_id in dict.fromkeys(ids):
            found = []
            if re.fullmatch(r"\d{1,19}-\d{1,19}", letter_id, re.ASCII):
                with log_errors():
                    found = await self._redis.execute_command("XRANGE", DEAD, letter_id, letter_id)
            if not found:
                raise WrongLetter(f"there is no dead letter {letter_id!r}; `gitpulse deadletters list` shows them")
            letters.append(_letter(*found[0]))
        return letters

    async def count(self) -> int:
        """How many there are."""
        with log_errors():
            return int(await self._redis.execute_command("XLEN", DEAD))

    async def retry(self, letters: Sequence[Letter]) -> int:
        """Puts them back; how many were still there. Raises WrongLetter, before any is, if one cannot be."""
        for letter in letters:
            if letter.refusal:
                raise WrongLetter(f"{letter.id} cannot be put back: {letter.refusal}")
        return sum([await self._put_back(letter) for letter in letters])

    async def retry_all(self) -> tuple[int, int]:
        """Puts back all that can be; how many those were, and how many stay."""
        done = stay = 0
        async for letter in self.newest():
            stay += bool(letter.refusal)
            done += not letter.refusal and await self._put_back(letter)
        return done, stay

    async def drop(self, letters: Sequence[Letter]) -> int:
        """Removes them for good; how many were still there."""
        with log_errors():
            return sum([await self._redis.execute_command("XDEL", DEAD, letter.id) for letter in letters])

    async def drop_all(self) -> int:
        """The same with all there are."""
        return sum([await self.drop([letter]) async for letter in self.newest()])

    async def _put_back(self, letter: Letter) -> bool:
        assert letter.envelope
        partition = partition_of(letter.envelope.hook_id, self._partitions)
        with log_errors():
            job_id = await self._retry([WAITING, stream(partition), DEAD], [partition, letter.id])
        return job_id is not None


def _letter(letter_id: bytes, fields: dict[bytes, bytes]) -> Letter:
    stored = fields.get(b"entry", b"")
    try:
        envelope = decode(stored)
    except Corrupt:
        envelope = None
    return Letter(
        id=letter_id.decode(),
        job_id=fields.get(b"job", b"").decode(),
        reason=fields.get(b"reason", b"").decode(errors="replace"),
        at=_moment(int(fields.get(b"at") or letter_id.partition(b"-")[0])),
        envelope=envelope,
        body=envelope.body if envelope else stored,
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
