"""An HTTP/1.1 load client that costs little: raw protocols on uvloop, keep-alive, one request at a time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import uvloop
from bench._payloads import mix


def requests(token: str, prefix: str) -> Iterator[bytes]:
    """Deliveries without end, each with an id of its own."""
    head = (
        "POST /api/v1/webhooks/gitlab HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"User-Agent: GitLab/18.4.0\r\nX-Gitlab-Event: %s\r\nX-Gitlab-Token: {token}\r\n"
        f"Idempotency-Key: {prefix}-%08d\r\nContent-Length: %d\r\n\r\n"
    )
    for number, (event, body) in zip(itertools.count(), itertools.cycle(mix())):
        yield (head % (event, number, len(body))).encode() + body


class Connection(asyncio.Protocol):
    """Sends one request after the other, when `due` says so, and notes how long each took."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.done = asyncio.get_running_loop().create_future()
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.send()

    def send(self) -> None:
        if not self.load.left:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.load.left -= 1
        self.due = max(time.perf_counter(), self.load.next_due())
        wait = self.due - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self.write)
        else:
            self.write()

    def write(self) -> None:
        self.request = next(self.load.requests)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if not self.answer.endswith(b"}"):
            return
        self.load.took.append(time.perf_counter() - self.due)
        if self.answer.startswith(b"HTTP/1.1 200") and b"accepted" in self.answer:
            self.load.accepted_ids.add(_delivery_id(self.request))
        self.answer = b""
        self.send()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)  # the server is gone; what it answered until then counts


def _delivery_id(request: bytes) -> str:
    """Without a copy of the body: what the load costs is missing for the server that shares the machine."""
    start = request.index(b"Idempotency-Key: ") + 17
    return request[start : request.index(b"\r", start)].decode()


class Load:
    """One run: how many deliveries, over how many connections, and how many a second (0: as fast as it goes)."""

    def __init__(self, requests: Iterator[bytes], count: int, connections: int, rate: float = 0) -> None:
        self.requests, self.left, self.connections = requests, count, connections
        self.step = 1 / rate if rate else 0.0
        self.due = 0.0
        self.took: list[float] = []
        self.accepted_ids: set[str] = set()
        self.seconds = 0.0

    def next_due(self) -> float:
        self.due = (self.due or time.perf_counter()) + self.step if self.step else 0.0
        return self.due

    def run(self, port: int) -> Load:
        """Sends it all and returns itself."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run(port))
        return self

    async def _run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        opened = [loop.create_connection(lambda: Connection(self), "127.0.0.1", port) for _ in range(self.connections)]
        connected = [
            c for c in await asyncio.gather(*opened, return_exceptions=True) if not isinstance(c, BaseException)
        ]
        await asyncio.gather(*(protocol.done for _, protocol in connected))
        self.seconds = time.perf_counter() - started

    def per_second(self) -> float:
        return len(self.took) / self.seconds

    def ms(self, percent: float) -> float:
        """How long that many of the deliveries took at most, milliseconds."""
        return sorted(self.took)[int(len(self.took) * percent / 100)] * 1000
