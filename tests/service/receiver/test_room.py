"""Memory for bodies: taken as they come, free for small ones, and given back however a request ends."""

import asyncio
import contextlib
import json

import httpx2
import pytest
from hypothesis import given, strategies as st

from gitpulse_service.receiver.body import BodyTooLarge, ClientGone, NoRoom, Room, read_body
from harness.receiver import PUSH, SECRET, eventually, receiver, settings

FREE = Room.FREE
CAP = 3 * FREE


def receiver_of(*sizes, gone=False):
    """What a server's `receive` gives: chunks of these sizes, then the end of the body or of the client."""
    messages = [{"type": "http.request", "body": bytes(size), "more_body": True} for size in sizes]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""})

    async def receive():
        return messages.pop(0)

    return receive


@given(chunks=st.lists(st.integers(0, FREE), max_size=6), size=st.integers(0, 2 * FREE), gone=st.booleans())
async def test_all_of_it_is_given_back(chunks, size, gone):
    room, total = Room(size), sum(chunks)
    try:
        body = await read_body({}, receiver_of(*chunks, gone=gone), cap=CAP, room=room)
    except BodyTooLarge:
        assert total > CAP
    except NoRoom:
        assert total > FREE + size
    except ClientGone:
        assert gone
    else:
        assert len(body) == total <= FREE + size
        assert room._left == size - max(0, total - FREE)
        room.leave(total)
    assert room._left == size


async def test_a_small_body_is_read_where_there_is_no_room():
    room = Room(0)
    assert await read_body({}, receiver_of(FREE), cap=CAP, room=room)
    with pytest.raises(NoRoom):
        await read_body({}, receiver_of(FREE, 1), cap=CAP, room=room)


async def test_a_large_delivery_without_room_is_503_and_a_small_one_is_not(redis_url):
    head = (
        f"POST /api/v1/webhooks/gitlab HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\nContent-Length: {CAP}\r\n\r\n"
    )
    body = json.dumps(PUSH).encode().ljust(CAP)
    async with receiver(settings(redis_url, max_body_bytes=CAP, max_bytes_in_flight=1024)) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(head.encode() + body[:-1])  # all of the room, and it stays

        async def is_refused():
            with contextlib.suppress(httpx2.TransportError):  # closed before all of it was sent
                answer = await client.deliver(body=body)
                return answer.status_code == 503 and answer

        refused = await eventually(is_refused)
        assert (refused.json()["reason"], refused.headers["retry-after"]) == ("unavailable", "5")
        assert (await client.deliver(body=body[:FREE])).json()["status"] == "accepted"
        writer.write(body[-1:])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert (await client.deliver(body=body)).json()["status"] == "accepted"
