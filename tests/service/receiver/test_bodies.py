"""Bodies on the wire: chunked, cut short, too large, and bytes that are no HTTP. Raw sockets: clients are tidy."""

import asyncio
import json
import time

import pytest
from prometheus_client import REGISTRY

from harness.event_log import open_log
from harness.receiver import PUSH, SECRET, eventually, serving, settings

CAP = 100_000
HEAD = (
    b"POST /api/v1/webhooks/gitlab HTTP/1.1\r\nHost: x\r\nX-Gitlab-Event: Push Hook\r\n"
    b"X-Gitlab-Token: " + SECRET.encode() + b"\r\n"
)


@pytest.fixture(scope="module")
def port(redis_process):
    with serving(settings(redis_process.url, max_body_bytes=CAP)) as port:
        yield port


@pytest.fixture
async def wire(port, redis_url):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()


async def answer(reader):
    """One response: its status, and its body as JSON."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split()[1]), json.loads(await reader.readexactly(length))


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_a_chunked_body(wire):
    reader, writer = wire
    body = json.dumps(PUSH | {"message": "x" * 50_000}).encode()
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for i in range(0, len(body), 777):
        writer.write(chunk(body[i : i + 777]))
        await writer.drain()
    writer.write(chunk(b""))
    assert (await answer(reader))[1]["status"] == "accepted"


async def test_several_deliveries_on_one_connection(wire):
    reader, writer = wire
    for _ in range(3):
        body = json.dumps(PUSH).encode()
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (await answer(reader))[1]["status"] == "accepted"


async def test_an_answer_does_not_wait_for_the_clients_acknowledgement(wire):
    reader, writer = wire
    took = []
    for _ in range(8):
        started = time.perf_counter()
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert (await answer(reader))[0] == 200
        took.append(time.perf_counter() - started)
    assert min(took[2:]) < 0.035  # Nagle's algorithm and a delayed acknowledgement make it 0.04


@pytest.mark.parametrize("length", [CAP + 1, 10**15, 10**40])
async def test_a_body_that_says_it_is_too_large_is_not_read(wire, length):
    reader, writer = wire
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % length)
    if length < 10**20:  # beyond that the HTTP parser itself refuses
        status, body = await answer(reader)
        assert (status, body["reason"]) == (413, "body_too_large")
    assert await asyncio.wait_for(reader.read(), 10) == b"" or length > 10**20


async def test_a_chunked_body_is_read_to_the_cap_and_no_further(wire):
    reader, writer = wire
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(CAP // 1000):
        writer.write(chunk(b" " * 1000))
    await writer.drain()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)  # at the cap, and all is well
    writer.write(chunk(b" "))
    status, body = await answer(reader)  # and the last chunk was never sent
    assert (status, body["reason"]) == (413, "body_too_large")
    assert await reader.read() == b""


async def test_a_body_of_just_the_cap(wire):
    reader, writer = wire
    body = json.dumps(PUSH).encode().ljust(CAP)
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % CAP + body)
    assert (await answer(reader))[1]["status"] == "accepted"


async def test_a_client_that_waits_for_leave_to_send(wire):
    reader, writer = wire
    body = json.dumps(PUSH).encode()
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert b"100" in await reader.readuntil(b"\r\n\r\n")
    writer.write(body)
    assert (await answer(reader))[1]["status"] == "accepted"


async def test_a_client_that_leaves_half_way_leaves_nothing(wire, redis_url):
    def gone():
        labels = {"status": "error", "reason": "client_disconnected"}
        return REGISTRY.get_sample_value("gitlab_webhook_requests_total", labels) or 0

    before = gone()
    _, writer = wire
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + b'{"object_kind":"push"')
    await writer.drain()
    writer.close()

    async def counted():
        return gone() == before + 1

    await eventually(counted)
    log = open_log(redis_url, partitions=16)
    assert not any((await log.backlog()).values())
    await log.aclose()


@pytest.mark.parametrize(
    "request_line",
    [b"hello\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
)
async def test_what_is_no_http_is_refused_and_hurts_nobody(wire, port, request_line):
    reader, writer = wire
    writer.write(request_line)
    assert (await reader.read()).startswith(b"HTTP/1.1 4")
    again, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(PUSH).encode()
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (await answer(again))[0] == 200
    writer.close()
