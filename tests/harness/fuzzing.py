"""What is fuzzed, and what must hold: `python -m harness.fuzzing app|pure CASES FIGURES [libFuzzer's arguments]`.

`app` is the webhook endpoint, called as a server calls it, with several requests at once; a case is one request.
`pure` is what it and the worker are made of: verify, classify, decode, rows, the log's codec; a case is one of each.
The process ends after CASES cases with its figures, as JSON, in FIGURES; a failure ends it at once with an exit code,
a traceback and the case in a file.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
import zlib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import atheris
import uvloop

with atheris.instrument_imports(include=["gitpulse_service"]):
    from gitpulse_service.errors import LogFull, LogUnavailable, ServiceError, Undecodable
    from gitpulse_service.events.classify import Ignored, Kind, Malformed, classify
    from gitpulse_service.events.decode import decode
    from gitpulse_service.events.envelope import Envelope
    from gitpulse_service.log import codec
    from gitpulse_service.log.connection import connect
    from gitpulse_service.log.port import Receipt
    from gitpulse_service.logs import JsonLines
    from gitpulse_service.receiver import verification
    from gitpulse_service.receiver.answers import NO_ROOM
    from gitpulse_service.receiver.directory import Directory
    from gitpulse_service.receiver.doorbell import Doorbell
    from gitpulse_service.receiver.limiter import Limiter
    from gitpulse_service.receiver.refusals import RefusalNotes
    from gitpulse_service.receiver.verification import Refusal, verify
    from gitpulse_service.receiver.webhook import Webhook
    from gitpulse_service.store.telling import rows_of

import contextlib

from harness.memory_log import MemoryLog
from harness.nearly_right import CAP, NOW, ROUTES, UNOPENED, Attempt, Bytes, attempt, body_of, is_authentic

_PADDING = 600
_NOWHERE = "redis://127.0.0.1:1/0"
_FAILURES: list[ServiceError | None] = [None] * 8 + [LogUnavailable("it is away"), LogFull("it is full")]


class Silent(Doorbell):
    """Wakes nobody."""

    def ring(self, receipt: Receipt) -> None:
        """Does nothing: there are no workers."""


class Formatted(logging.Handler):
    """Makes a line of each record, as the program does, and keeps what it says of a bug."""

    bug = ""

    def emit(self, record: logging.LogRecord) -> None:
        line = JsonLines().format(record)
        if record.exc_info:
            self.bug = line


class App:
    """The endpoint on a log in memory."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.log = MemoryLog()
        self.lines = Formatted()
        logging.getLogger("gitpulse_service").addHandler(self.lines)
        logging.getLogger("gitpulse_service").propagate = False
        directory = Directory(connect(_NOWHERE), bytes(32), "fuzz")
        directory._routes = {**{hook: route for hook, route in ROUTES.items() if hook}, UNOPENED: None}
        directory._version, directory._complete = b"1-1", True
        self.webhook = Webhook(
            log=self.log,
            doorbell=Silent(_NOWHERE),
            notes=RefusalNotes(self.log),
            directory=directory,
            manual=ROUTES[""],
            allowed=(),
            trusted=(ip_network("192.0.2.0/24"),),
            refused_limit=Limiter(_NOWHERE, "refused", None),
            hook_limit=Limiter(_NOWHERE, "hook", None),
            max_body_bytes=CAP,
            max_bytes_in_flight=2 * CAP,
            clock=lambda: NOW,
        )

    def __call__(self, data: Bytes) -> int:
        """Some requests at once. Returns how many."""
        self.log.clear()
        self.log.fails_with = _FAILURES[data.ConsumeIntInRange(0, len(_FAILURES) - 1)]
        attempts = [attempt(data) for _ in range(1 + data.ConsumeIntInRange(0, 3))]
        answers = self.loop.run_until_complete(self._answers(attempts))
        crowded = sum(len(attempt.body) for attempt in attempts) > 2 * CAP
        outcomes = [
            "no room" if crowded and _no_room(answer) else self._check(attempt, answer)
            for attempt, answer in zip(attempts, answers, strict=True)
        ]
        assert outcomes.count("accepted") == len(self.log.entries), "stored, but not answered so"
        assert outcomes.count("400") == len(self.log.dead), "dead letters"
        assert self.webhook._room._left == 2 * CAP, "room that nobody left"
        return len(attempts)

    async def _answers(self, attempts: list[Attempt]) -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*map(self._answer, attempts))

    async def _answer(self, attempt: Attempt) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        messages = iter(attempt.messages)

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": attempt.method, "headers": attempt.headers, "client": ("192.0.2.1", 1)}
        await self.webhook(attempt.hook_id, scope, receive, send)
        return sent

    def _check(self, attempt: Attempt, sent: list[dict[str, Any]]) -> str:
        """One answer against the contract. Returns its outcome."""
        expected = attempt.expected()
        if not expected:
            assert sent == [], "answered though nobody is there"
            return "gone"
        start, *parts = sent
        assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
        body = b"".join(part.get("body", b"") for part in parts)
        status, headers, said = start["status"], dict(start["headers"]), json.loads(body)
        assert status in expected or (status == 503 and 200 in expected and self.log.fails_with), (
            f"{status}, not {expected}; {self.lines.bug}"
        )
        assert headers[b"content-type"] == b"application/json"
        assert int(headers[b"content-length"]) == len(body)
        assert status != 503 or int(headers[b"retry-after"]) > 0
        if status != 200:
            assert (said["status"], bool(said["reason"]), bool(said["message"])) == ("error", True, True)
            return str(status)
        if said["status"] != "ignored":
            stored = self.log.entries[said["job_id"]]
            assert stored.hook_id == attempt.hook_id
            assert said["status"] == "duplicate" or stored.body == attempt.body, "not what was sent"
        return str(said["status"])


def _no_room(sent: list[dict[str, Any]]) -> bool:
    return bool(sent) and (sent[0]["status"], sent[1]["body"]) == (503, NO_ROOM.body)


class Pure:
    """The parts that do no IO."""

    def __call__(self, data: Bytes) -> int:
        """One case."""
        found = attempt(data)
        headers = dict(found.headers)
        verdict = verify(found.route, headers, found.body, now=NOW)
        assert isinstance(verdict, Refusal) is not is_authentic(found.route, headers, found.body), verdict
        event = headers.get(b"x-gitlab-event", b"").decode("latin-1")
        kind = classify(event, found.body)
        assert isinstance(kind, Kind | Ignored | Malformed)
        envelope = Envelope(found.hook_id, "id", event, "https://gitlab.example.com", 1, NOW * 1000, found.body)
        try:
            decoded = decode(envelope)
        except Undecodable:
            decoded = None
        else:
            assert not isinstance(kind, Malformed)
            rows_of([(envelope, decoded)])
        entry = codec.encode(envelope)
        assert codec.decode(entry) == envelope
        at = data.ConsumeIntInRange(0, len(entry))
        for damaged in (entry[:at] + data.ConsumeBytes(3) + entry[at + 1 :], body_of(data)):
            with contextlib.suppress(codec.Corrupt):
                codec.decode(damaged)
        return 1


class Planted(Pure):
    """The same with a mistake in it, to see that it would be found: signatures are good for a second too long."""

    def __init__(self) -> None:
        verification.TOLERANCE += 1


class Count:
    """Runs a target until it has had its cases, then writes the figures and ends the process."""

    def __init__(self, target: Callable[[Bytes], int], cases: int, figures: Path) -> None:
        self._target, self._cases, self._figures = target, cases, figures
        self._done = self._began_with = 0
        self._began = time.monotonic()

    def __call__(self, data: bytes) -> None:
        self._done += self._target(_choices(data))
        if not self._began_with and self._done > self._cases // 5:  # warm
            self._began_with = _resident()
        if self._done >= self._cases:
            seconds = time.monotonic() - self._began
            growth = (_resident() - self._began_with) / 2**20
            self._figures.write_text(json.dumps({"cases": self._done, "seconds": seconds, "rss_growth_mib": growth}))
            os._exit(0)  # libFuzzer would not let us go


def _choices(data: bytes) -> Bytes:
    """The fuzzer's bytes, and enough others that depend on them alone: it keeps the shortest input that reaches a line.

    A provider takes numbers from the end and texts from the beginning, so that the fuzzer decides on both.
    """
    middle = len(data) // 2
    provider: Bytes = atheris.FuzzedDataProvider(
        data[:middle] + random.Random(zlib.crc32(data)).randbytes(_PADDING) + data[middle:]
    )
    return provider


def _resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(target: str, cases: str, figures: str, *arguments: str) -> None:
    atheris.Setup(
        [sys.argv[0], *arguments],
        Count({"app": App, "pure": Pure, "planted": Planted}[target](), int(cases), Path(figures)),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
