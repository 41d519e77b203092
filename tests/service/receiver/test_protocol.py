"""Connections that are slow, too talkative, or answered early. Raw sockets: no client library behaves like this."""

import asyncio
import contextlib
import itertools
import json
import socket

import pytest
from prometheus_client import REGISTRY

from gitpulse_service.receiver import protocol, server
from harness.event_log import open_log
from harness.receiver import PUSH, SECRET, eventually, serving, settings

PATH = "/api/v1/webhooks/gitlab"
BODY = json.dumps(PUSH).encode()
CAP = 100_000


def head(*lines, method="POST", path=PATH, token=SECRET):
    start = [f"{method} {path} HTTP/1.1", "Host: x", "X-Gitlab-Event: Push Hook", f"X-Gitlab-Token: {token}"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


DELIVERY = head(f"Content-Length: {len(BODY)}") + BODY


def listening(host, port, listen=server._listening):
    listener = listen(host, port)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # or it takes megabytes to fill
    return listener


@pytest.fixture(scope="module")
def port(redis_process):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "_listening", listening)
        for name in ("HEAD_TIME", "BODY_TIME", "READ_TIME"):
            patch.setattr(protocol, name, 1)
        with serving(settings(redis_process.url, max_body_bytes=CAP)) as port:
            yield port


@pytest.fixture
async def connect(port, redis_url):
    async with contextlib.AsyncExitStack() as stack:

        async def connect():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            return reader, writer

        yield connect


@pytest.fixture
async def wire(connect):
    return await connect()


async def backlog(redis_url):
    log = open_log(redis_url, partitions=16)
    waiting = sum((await log.backlog()).values())
    await log.aclose()
    return waiting


def cut(reason):
    return REGISTRY.get_sample_value("gitpulse_connections_cut_total", {"reason": reason}) or 0


def answered():
    labels = {"status": "ignored", "reason": "custom_template"}
    return REGISTRY.get_sample_value("gitlab_webhook_requests_total", labels) or 0


async def status(reader):
    """Status of one answer, of which all is read."""
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def rest(reader):
    """All that still comes, up to the connection's end; nothing where that is a reset, as we were still sending."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def dribble(reader, writer, data):
    """Sends a piece every tenth of a second until the other side closes; returns what it had to say."""
    ended = asyncio.ensure_future(rest(reader))
    for piece in data:
        with contextlib.suppress(ConnectionError):
            writer.write(piece)
            await writer.drain()
        if (await asyncio.wait([ended], timeout=0.1))[0]:
            break
    return await ended


async def test_a_client_that_says_nothing(wire):
    before = cut("slow_head")
    assert await rest(wire[0]) == b""
    assert cut("slow_head") == before + 1


async def test_a_head_that_dribbles(wire):
    reader, writer = wire
    writer.write(head()[:-2])
    assert await dribble(reader, writer, (b"X-%d: x\r\n" % n for n in itertools.count())) == b""


async def test_line_breaks_that_dribble_between_requests(wire):
    reader, writer = wire
    writer.write(DELIVERY)
    assert await status(reader) == 200
    assert await dribble(reader, writer, itertools.repeat(b"\r\n")) == b""


@pytest.mark.parametrize("piece", [b" ", b""])
async def test_a_body_that_dribbles_or_never_comes(wire, piece, redis_url):
    reader, writer = wire
    before = cut("slow_body")
    writer.write(head("Content-Length: 1000"))
    answer = await dribble(reader, writer, itertools.repeat(piece))
    assert answer.startswith(b"HTTP/1.1 408 ") or (piece and not answer)
    assert b"connection: close" in answer or not answer
    assert cut("slow_body") == before + 1
    assert await backlog(redis_url) == 0


async def test_an_idle_connection_stays(connect):
    idle_reader, idle_writer = await connect()
    idle_writer.write(DELIVERY)
    assert await status(idle_reader) == 200
    for _ in range(2):
        silent, _ = await connect()
        assert await rest(silent) == b""  # the sweep has passed over both
    idle_writer.write(DELIVERY)
    assert await status(idle_reader) == 200


async def test_a_client_that_does_not_read(port):
    before = cut("unread")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        ignored = head("Content-Length: 2") + b"{}"
        begun = answered()
        for count in range(20, 100_000, 20):
            with contextlib.suppress(ConnectionError):
                await asyncio.to_thread(client.sendall, ignored * 20)

            async def next_is_due():
                return answered() - begun >= count or cut("unread") > before  # noqa: B023

            await eventually(next_is_due, within=20)
            if cut("unread") > before:
                break
        client.settimeout(10)
        with contextlib.suppress(ConnectionError):  # and it really is closed, once what was under way is read
            while await asyncio.to_thread(client.recv, 65536):
                pass


async def test_requests_that_wait_for_no_answer(wire):
    before = cut("pipelined")
    reader, writer = wire
    writer.write(head("Content-Length: 2", token="wrong") + b"{}")
    writer.write((head("Content-Length: 2") + b"{}") * 100_000)
    assert (await rest(reader)).count(b"HTTP/1.1") <= protocol.MOST_PIPELINED + 1
    assert cut("pipelined") == before + 1


@pytest.mark.parametrize("size", [60_000, 70_000, 1_000_000])
@pytest.mark.parametrize("fields", [1, 50])
async def test_a_head_of_this_size(wire, size, fields):
    reader, writer = wire
    lines = [f"X-{i}: {'x' * (size // fields)}" for i in range(fields)]
    before = cut("head_too_large")
    with contextlib.suppress(ConnectionError):  # it may be closed on us while we send
        writer.write(head(*lines, f"Content-Length: {len(BODY)}") + BODY)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert int(answer.split()[1]) == (200 if size < 65_536 else 431)
    assert cut("head_too_large") == before + (size > 65_536)


@pytest.mark.parametrize(
    "talk",
    [b"GET /" + b"x" * 2000, b"5;" + b"x" * 2000, b"0\r\n" + b"X: x\r\n" * 300, b"0\r\nX: " + b"x" * 2000],
    ids=["url", "chunk extension", "trailers", "trailer"],
)
async def test_what_is_no_body_is_bounded_wherever_it_comes(wire, talk):
    reader, writer = wire
    begin = b"" if talk.startswith(b"GET") else head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n"
    writer.write(begin + talk)
    more = b"x" * 1000 if not talk.endswith(b"\n") else b"X: x\r\n" * 200
    before = cut("head_too_large")
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(more)
            await writer.drain()
    assert (await rest(reader)).partition(b"\r\n")[0] in (b"HTTP/1.1 431 Request Header Fields Too Large", b"")
    assert cut("head_too_large") == before + 1


async def test_a_trailer_is_no_header(wire):
    reader, writer = wire
    chunked = head("Transfer-Encoding: chunked", token="wrong")
    writer.write(chunked + b"%x\r\n%b\r\n0\r\nX-Gitlab-Token: %b\r\n\r\n" % (len(BODY), BODY, SECRET.encode()))
    assert await status(reader) == 401


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (head(f"Content-Length: {len(DELIVERY)}", method="PUT"), 405),
        (head(f"Content-Length: {len(DELIVERY)}", path="/api/v1/health"), 405),
        (head(f"Content-Length: {len(DELIVERY)}", path="/nothing"), 404),
        (head(f"Content-Length: {CAP + len(DELIVERY)}"), 413),
        (head("Expect: 100-continue", f"Content-Length: {len(DELIVERY)}", method="PUT"), 405),
        (head("Content-Length: 0", "Transfer-Encoding: chunked"), 400),
        (head("Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(DELIVERY)}"), 400),
    ],
)
async def test_the_rest_of_a_body_is_no_request(wire, begin, expected, redis_url):
    reader, writer = wire
    writer.write(begin)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert int(answer.split()[1]) == expected
    assert b"connection: close" in answer.lower()
    with contextlib.suppress(ConnectionError):
        writer.write(DELIVERY)
        await writer.drain()
    assert b"HTTP/1.1" not in await rest(reader)
    assert await backlog(redis_url) == 0


async def test_a_body_that_was_read_keeps_the_connection(wire):
    reader, writer = wire
    for begin, expected in ((head(f"Content-Length: {len(BODY)}", token="wrong"), 401), (DELIVERY[: -len(BODY)], 200)):
        writer.write(begin + BODY)
        assert await status(reader) == expected


async def test_pipelined_requests_are_answered_in_turn(wire):
    reader, writer = wire
    refused = head("Content-Length: 2", token="wrong") + b"{}"
    writer.write(DELIVERY + refused + DELIVERY[:-1])
    assert [await status(reader), await status(reader)] == [200, 401]
    writer.write(DELIVERY[-1:])
    assert await status(reader) == 200


async def test_a_413_reaches_a_client_that_is_still_sending(port):
    def send():
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(head("Content-Length: 5000000"))
            for _ in range(50):
                client.sendall(b" " * 100_000)
            return client.recv(9999)

    assert (await asyncio.to_thread(send)).startswith(b"HTTP/1.1 413 ")
