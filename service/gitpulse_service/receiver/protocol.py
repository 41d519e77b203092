"""HTTP/1.1 connections that do not wait for ever: uvicorn's own protocol knows no limit for a request's head or body.

One sweep a second goes over all connections, of which each knows its age in sweeps: no timer is started or cancelled
for a request, and neither a clock that is set nor a loop that stood still makes a client late.
"""

from __future__ import annotations

from typing import Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gitpulse_service import metrics

HEAD_TIME = 10
"""Seconds until a head is complete, from when the connection was made or the head began."""
BODY_TIME = 15
"""Seconds from there until the body is complete, however it dribbles. GitLab waits ten for all of it."""
READ_TIME = 10
"""Seconds for which a client may leave unread what it is sent."""
MOST_HEAD = 64 * 1024
"""Bytes of a head, and of what else is no body: sizes and extensions of chunks, trailers."""

MOST_PIPELINED = 32
"""Requests that may wait for the answer to one before them. GitLab and proxies send none; uvicorn keeps any number."""


class Refused(Exception):
    """Stops the parser; uvicorn then calls `send_400_response`."""


class Protocol(HttpToolsProtocol):
    """Closes connections of slow clients, and those on which a request was answered before all of it was read."""

    _awaited: Literal["", "head", "body"] = "head"
    _age = 0
    """Sweeps since that is awaited."""
    _unread = 0
    """Sweeps since the client stopped reading."""
    _size = 0
    """Bytes since a head, a part of a body or a message was last complete."""
    _keep_alive = False

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        super().data_received(data)
        if self._size and not self._awaited:
            self._awaited, self._age = "head", 0
        if self._size > MOST_HEAD and not self.transport.is_closing():
            self._cut("head_too_large", 431)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # uvicorn would drop the body, or take it for the next request
            raise Refused
        # One read may bring more than the limit, but then most of it may be body.
        if self._size > MOST_HEAD and len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > MOST_HEAD:
            raise Refused
        super().on_headers_complete()
        if len(self.pipeline) > MOST_PIPELINED:
            raise Refused
        self.headers = []  # trailers come here as well, and must not pass for what a proxy has put into the head
        self._awaited, self._age, self._size = "body", 0, 0
        # Until the body is complete an answer closes the connection. So what is left of it is not read without end, nor
        # is the next request taken for it, where a client waits for leave to send it, gets a 403, and sends none.
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_body(self, body: bytes) -> None:
        self._size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._awaited, self._size = "", 0
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
        super().on_message_complete()

    def shutdown(self) -> None:
        self._keep_alive = False
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        if self._size > MOST_HEAD:
            self._cut("head_too_large", 431)
        elif len(self.pipeline) > MOST_PIPELINED:
            self._cut("pipelined")
        else:
            super().send_400_response(msg)

    def sweep(self) -> None:
        """Called once a second."""
        self._age += 1
        if self.flow.write_paused or self.transport.is_closing():
            self._unread += 1
            if self._unread > READ_TIME:
                metrics.CONNECTIONS_CUT.labels("unread").inc()
                self.transport.abort()  # closing waits until all is sent
            return
        self._unread = 0
        if self._awaited == "head" and self._age > HEAD_TIME:
            self._cut("slow_head")
        elif self._awaited == "body" and self._age > BODY_TIME:
            self._cut("slow_body", 408)

    def _cut(self, reason: str, status: int = 0) -> None:
        """Closes the connection, with an answer if there is a status and no other answer is under way."""
        metrics.CONNECTIONS_CUT.labels(reason).inc()
        cycle = self.cycle
        begun = cycle is not None and (
            not cycle.response_complete if self._awaited == "head" else cycle.response_started
        )
        if status and not begun and not self.pipeline:
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
