"""Deliveries through the shipped nginx and Caddy examples: what comes through, as what, and what does not."""

import dataclasses
import re
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Signer

from gitpulse_service.log.connection import ANSWER_TIMEOUT, CONNECT_TIMEOUT
from gitpulse_service.receiver.server import KEEP_ALIVE
from gitpulse_service.settings import ServiceSettings
from harness.front import BODY, EXAMPLES, INSIDE, OUTSIDE, PATH, get, post, statuses, stored
from harness.receiver import receiver, settings

CAP = 25 * 1024 * 1024
SIGNING = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def headers_of(seen):
    """The headers of the one request that went on."""
    head = bytes(seen).partition(b"\r\n\r\n")[0].decode("latin-1")
    return [tuple(line.split(": ", 1)) for line in head.split("\r\n")[1:]]


def chunked(body):
    pieces = [body[i : i + 65536] for i in range(0, len(body), 65536)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_a_signed_delivery_arrives_byte_for_byte(front, tap, redis_url):
    now = datetime.now(UTC)
    signature = Signer(SIGNING).sign("signed-1", now, BODY.decode())
    lines = f"webhook-id: signed-1\r\nwebhook-timestamp: {int(now.timestamp())}\r\nwebhook-signature: {signature}\r\n"
    signed = ServiceSettings.model_validate({"redis_url": redis_url, "GITLAB_WEBHOOK_SECRET": SIGNING})
    async with receiver(signed) as client:
        tap.far = client.port
        answer = await front.send(post(headers=lines.encode(), token=""))
    assert (statuses(answer), b'"accepted"' in answer) == ([200], True)
    assert stored(redis_url) == {"signed-1": BODY}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [CAP, CAP + 1])
async def test_the_largest_body_passes_and_a_byte_more_does_not(front, redis_url, framing, size):
    body = BODY.ljust(size)
    delivery = post(body) if framing == "length" else post(chunked(body), headers=b"Transfer-Encoding: chunked\r\n")
    # Caddy 2.6 takes it for the receiver's failure that it would read no more.
    too_large = [413] if front.name == "nginx" else [413, 502]
    assert statuses(await front.send(delivery))[0] in ([200] if size == CAP else too_large)
    assert stored(redis_url) == ({"a": body} if size == CAP else {})


@pytest.mark.parametrize("path", [PATH, f"{PATH}/somehook", "/api/v1//webhooks/gitlab", "/api/v1/x/../webhooks/gitlab"])
async def test_an_address_outside_the_list_is_turned_away_unheard(front, tap, path):
    answers = statuses(await front.send(post(path=path), source=OUTSIDE))
    assert answers in ([403], [404])
    assert path != PATH or answers == [403]
    assert not tap.seen


async def test_whom_it_says_it_is_from(front, tap):
    lies = (
        b"X-Forwarded-For: 34.74.90.65\r\nx-forwarded-for: 1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n"
    )
    assert statuses(await front.send(post(headers=lies))) == [200]
    said = headers_of(tap.seen)
    assert [value for name, value in said if name.lower() == "x-forwarded-for"] == [INSIDE]
    assert b"1.1.1.1" not in tap.seen
    assert b"34.74.90.65" not in tap.seen


@pytest.mark.parametrize(("allowed", "status"), [(INSIDE, 200), ("203.0.113.9", 403)])
async def test_the_receiver_knows_by_it_who_sent(front, tap, redis_url, allowed, status):
    strict = settings(redis_url, allowed_addresses=allowed, trusted_proxies="127.0.0.1")
    async with receiver(strict) as client:
        tap.far = client.port
        assert statuses(await front.send(post(headers=b"X-Forwarded-For: 203.0.113.9\r\n"))) == [status]


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/",
        "/api/v1/ready",
        "/api/v1/projects",
        f"{PATH}/../../projects",
        f"{PATH}/..%2f..%2fprojects",
        "/api/v1/health/../projects",
    ],
)
async def test_nothing_else_is_to_be_seen(front, tap, path):
    answer = await front.send(get(path))
    assert statuses(answer)[0] >= 400
    assert b"GET /api/v1/projects" not in tap.seen
    assert b"GET /metrics" not in tap.seen


@pytest.mark.parametrize("example", ["nginx/gitpulse.conf", "caddy/Caddyfile"])
def test_the_figures_that_are_ours_too(example):
    text = (EXAMPLES / example).read_text()
    cap = re.search(r"(?:max_body_size|max_size) (\d+)(?:m;|MiB)", text)
    idle = re.search(r"keepalive(?:_timeout)? (\d+)s", text)
    answer = re.search(r"(?:proxy_read|response_header)_timeout (\d+)s", text)
    assert cap
    assert idle
    assert answer
    assert int(cap[1]) * 1024 * 1024 == ServiceSettings.model_fields["max_body_bytes"].default
    assert int(idle[1]) < KEEP_ALIVE
    assert CONNECT_TIMEOUT + ANSWER_TIMEOUT < int(answer[1]) < 10


async def test_whether_the_way_is_open(front):
    answer = await front.send(get("/api/v1/health"), source=OUTSIDE)
    assert (statuses(answer), b'{"status":"ok"}' in answer) == ([200], True)


async def test_as_many_headers_as_a_hook_may_have(front, tap):
    own = b"".join(b"X-Own-%d: %b\r\n" % (i, b"v" * 2048) for i in range(20))
    assert statuses(await front.send(post(headers=own))) == [200]
    assert tap.seen.count(b"v" * 2048) == 20


async def test_one_connection_serves_many_deliveries(front, tap, redis_url):
    for i in range(5):
        assert statuses(await front.send(post(name=str(i)))) == [200]
    assert len(stored(redis_url)) == 5
    assert tap.connections == 1


async def test_a_receiver_that_is_gone_is_said_at_once(front, tap):
    assert statuses(await front.send(post())) == [200]
    tap.close()
    started = time.monotonic()
    assert statuses(await front.send(post())) in ([502], [503], [504])
    assert time.monotonic() - started < 5


async def test_a_receiver_that_says_nothing_is_given_up_before_gitlab_does(front, tap):
    tap.far = 0
    started = time.monotonic()
    assert statuses(await front.send(post())) in ([502], [503], [504])
    assert 3 < time.monotonic() - started < 10  # the receiver itself takes up to 4 s to find that Redis is silent


async def test_plain_http_gets_nowhere(front, tap):
    answer = await dataclasses.replace(front, trust=None).send(post())
    assert statuses(answer.replace(b"HTTP/1.0", b"HTTP/1.1")) == [400]
    assert not tap.seen
