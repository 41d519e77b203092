"""Reads a request's body once, and never more of it than is allowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.types import Receive

LINGER = 1.0
"""Seconds for which the rest of a body is read after an early answer."""


class BodyTooLarge(Exception):
    """The body is, or says it is, over the cap."""


class ClientGone(Exception):
    """The client left before it had sent its body."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, *, cap: int) -> bytes:
    """The whole body, at most `cap` bytes. Raises BodyTooLarge, as early as that is known, and ClientGone."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced[:20]) > cap:
        raise BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > cap:
            raise BodyTooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def discard(receive: Receive) -> None:
    """Reads what is left of a body, for a moment.

    Closing a connection on a client that still sends resets it, and the client may lose the answer it was sent.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body", False):
                pass
