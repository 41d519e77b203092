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


class NoRoom(Exception):
    """So many large bodies are being read that there is no memory for this one."""


class ClientGone(Exception):
    """The client left before it had sent its body."""


class Room:
    """Memory for the bodies that are held at once.

    Not reserved for what a body says it will be, but taken as it comes: an announcement costs nothing. Small bodies are
    free, so that large ones cannot keep them out.
    """

    FREE = 64 * 1024
    """Bytes of a body that are not counted."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, have: int, more: int) -> None:
        """For a body of `have` bytes that grows by `more`. Raises NoRoom, and has taken nothing then."""
        if have + more > self.FREE:
            size = have + more - max(have, self.FREE)
            if size > self._left:
                raise NoRoom
            self._left -= size

    def leave(self, size: int) -> None:
        """A body of this size is held no more."""
        if size > self.FREE:
            self._left += size - self.FREE


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, *, cap: int, room: Room) -> bytes:
    """The whole body, at most `cap` bytes; its place in the room is the caller's to leave.

    Raises BodyTooLarge, as early as that is known, NoRoom, and ClientGone.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced[:20]) > cap:
        raise BodyTooLarge
    chunks: list[bytes] = []
    try:
        await _collect(chunks, receive, cap, room)
    except BaseException:
        room.leave(sum(map(len, chunks)))
        raise
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _collect(chunks: list[bytes], receive: Receive, cap: int, room: Room) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        if size + len(chunk) > cap:
            raise BodyTooLarge
        room.take(size, len(chunk))
        size += len(chunk)
        chunks.append(chunk)


async def discard(receive: Receive) -> None:
    """Reads what is left of a body, for a moment.

    Closing a connection on a client that still sends resets it, and the client may lose the answer it was sent.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body", False):
                pass
