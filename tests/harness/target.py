"""A real HTTP server on loopback that keeps what is delivered to it and answers as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return self.headers["X-Gitlab-Event"]


@dataclass
class Target:
    """Where hooks point. `status`, `answer` and `delay` are those of the next requests."""

    url: str
    requests: list[Received] = field(default_factory=list)
    status: int = 200
    answer: bytes = b"ok"
    delay: float = 0.0
    answer_headers: dict[str, str] = field(default_factory=dict)
    judge: Callable[[Received], int] | None = None
    """Says with which status to answer, in place of `status`; what it has judged is not kept."""

    def take(self) -> list[Received]:
        """What came since the last call."""
        taken, self.requests = self.requests, []
        return taken

    def one(self) -> Received:
        """The one request that came since the last call."""
        (only,) = self.take()
        return only


@contextlib.contextmanager
def running_target() -> Iterator[Target]:
    """Listens on a free loopback port until the block ends."""
    target, ended = Target(""), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received = Received(self.path, self.headers, body)
            if target.judge is None:
                target.requests.append(received)
            ended.wait(target.delay)
            with contextlib.suppress(ConnectionError):
                self.send_response(target.judge(received) if target.judge else target.status)
                for name, value in {"Content-Length": str(len(target.answer)), **target.answer_headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(target.answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    target.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield target
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
