"""A stranger cannot tell by the clock whether a hook exists: refusals take equally long for a known and an unknown one.

Within 0.5 µs for the verification alone and 5 µs for a whole request over loopback; of less the test says nothing. That
it has the power it claims is shown by verifications that leak.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import sys

import pytest
import redis as redis_client

from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    WEBHOOK_PATH,
    Credential,
    Route,
    seal,
)
from gitpulse_service.receiver.verification import Refusal, verify
from harness.casualties import SERVE
from harness.processes import answers, free_port, running, wait_until
from harness.timing import compare

NOW = 1_780_000_000
KNOWN, UNKNOWN = "a" * 32, "b" * 32
NEW, OLD = Credential(2, "n" * 64, b"n" * 32), Credential(1, "o" * 64, b"o" * 32)
ROUTES = {
    "one secret": Route(KNOWN, "", "", (NEW,)),
    "two secrets": Route(KNOWN, "", "", (NEW, OLD)),
    "a token alone": Route(KNOWN, "", "", (Credential(1, "n" * 64),)),
    "signatures alone": Route(KNOWN, "", "", (NEW,), require_signature=True),
}
SIGNATURE = {b"webhook-signature": b"v1," + b"A" * 43 + b"=", b"webhook-id": b"i", b"webhook-timestamp": b"1780000000"}
PROOFS = {"none": {}, "a token": {b"x-gitlab-token": b"x" * 64}, "a signature": SIGNATURE}
BODY = b"x" * 2000
PURE = 0.5
WHOLE = 5.0
PAIRS = 3000


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("route", ROUTES)
def test_to_verify_takes_as_long_for_an_unknown_hook(record_property, route, proof):
    one, headers = ROUTES[route], PROOFS[proof]
    found = compare(
        lambda: verify(one, headers, BODY, now=NOW),
        lambda: verify(None, headers, BODY, now=NOW),
        pairs=PAIRS,
        margin=PURE,
    )
    record_property("comparison", repr(found))
    assert not found.differ, found


def test_a_verification_that_leaks_is_found(record_property):
    """One gives up on an unknown hook; the other does a microsecond or two more for a known one."""

    def early(route):
        return Refusal.UNKNOWN_HOOK if route is None else verify(route, SIGNATURE, BODY, now=NOW)

    def longer(route):
        if route is not None:
            base64.b64encode(BODY)
        return verify(route, SIGNATURE, BODY, now=NOW)

    for leaky in (early, longer):
        found = compare(lambda: leaky(ROUTES["one secret"]), lambda: leaky(None), pairs=PAIRS, margin=PURE)  # noqa: B023
        record_property("comparison", repr(found))
        assert found.differ, found


LEAKY = """
from gitpulse_service.receiver import webhook
from gitpulse_service.receiver.verification import Refusal
right = webhook.verify
def verify(route, *arguments, **more):
    return Refusal.UNKNOWN_HOOK if route is None else right(route, *arguments, **more)
webhook.verify = verify
"""


@contextlib.contextmanager
def serving(folder, redis_url, key, program):
    """A receiver in a process of its own that knows one hook; yields what asks it, over one connection."""
    with redis_client.Redis.from_url(redis_url) as redis:
        redis.hset(DIRECTORY, KNOWN, seal(key, ROUTES["one secret"]))
        redis.xadd(DIRECTORY_CHANGES, {"hook": KNOWN})
        redis.hset(DIRECTORY_SHARDS, "", "1")
    port = free_port()
    environment = {
        "GITPULSE_REDIS_URL": redis_url,
        "GITPULSE_INSTALLATION_KEY": base64.b64encode(key).decode(),
        "GITPULSE_REFUSED_LIMIT": "",
    }
    argv = [sys.executable, "-c", program, str(port)]
    with (
        running(argv, log=folder / "log", env=environment, ready=lambda: answers(port)),
        socket.create_connection(("127.0.0.1", port), timeout=20) as wire,
    ):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(request):
            wire.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += wire.recv(4096)
            return answer

        wait_until(lambda: b" 401 " in ask(request(UNKNOWN, {}, b"{}")), what="the directory is loaded")
        yield ask


def request(hook_id, headers, body):
    lines = [f"POST {WEBHOOK_PATH}/{hook_id} HTTP/1.1".encode(), b"Host: x", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *(b"%b: %b" % pair for pair in headers.items()), b"", body])


@pytest.mark.parametrize("size", [2000, 100_000])
@pytest.mark.parametrize("proof", ["a token", "a signature"])
def test_a_request_takes_as_long_for_an_unknown_hook(
    tmp_path, redis_url, installation_key, record_property, proof, size
):
    with serving(tmp_path, redis_url, installation_key, SERVE) as ask:
        known, unknown = (request(hook, PROOFS[proof], b"x" * size) for hook in (KNOWN, UNKNOWN))
        assert ask(known) == ask(unknown)
        found = compare(lambda: ask(known), lambda: ask(unknown), pairs=PAIRS, margin=WHOLE)
    record_property("comparison", repr(found))
    assert not found.differ, found


def test_a_receiver_that_leaks_is_found(tmp_path, redis_url, installation_key, record_property):
    with serving(tmp_path, redis_url, installation_key, LEAKY + SERVE) as ask:
        known, unknown = (request(hook, SIGNATURE, b"x" * 100_000) for hook in (KNOWN, UNKNOWN))
        found = compare(lambda: ask(known), lambda: ask(unknown), pairs=PAIRS, margin=WHOLE)
    record_property("comparison", repr(found))
    assert found.differ, found
