"""Requests that are nearly right, made of a fuzzer's bytes, and what the contract says about each of them.

Random bytes would never get beyond the first comparison. These begin as deliveries that a real hook would send, with
proof and all, and then something, or nothing, is done to them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Protocol

from gitpulse_service.contract import Credential, Route
from gitpulse_service.receiver.verification import manual_route
from harness.samples import FOLDER

NOW = 1_780_000_000
CAP = 300_000
UNOPENED = "unopened"
"""A hook whose record does not open."""
ROUTES = {
    "": manual_route("s3cret-of-the-manual-hook"),
    "token": Route("token", "", "https://gitlab.example.com", (Credential(2, "new-token"), Credential(1, "old-token"))),
    "both": Route("both", "", "", (Credential(2, "token-2", b"2" * 32), Credential(1, "token-1", b"1" * 32))),
    "signed": Route("signed", "", "", (Credential(7, "token-7", b"7" * 32),), require_signature=True),
    "bare": Route("bare", "", "", ()),
}
_PATHS = [*ROUTES, UNOPENED, "nobody"]
_BODIES = [path.read_bytes() for path in sorted(FOLDER.rglob("*.json")) if path.stat().st_size < 6000]
_VALUES = re.compile(rb'(?<=[:\[,])\s*("(?:[^"\\]|\\.)*"|-?\d+|true|false|null|\[\]|\{\})')
_PLACES = [[match.span(1) for match in _VALUES.finditer(body)] for body in _BODIES]
_NASTY = [
    *(b"null", b"true", b"0", b"-1", b"1.5", b"-0", b"1e999", b"1E-999", b"9223372036854775808", b"9" * 400, b"NaN"),
    *(
        b'""',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'"\\\\u0000"',
        b'"\xff\xfe"',
        b'"\xed\xa0\x80"',
        b'"\\x"',
    ),
    *(b'"9999-12-31T23:59:59-23:59"', b'"0001-01-01"', b'"1e9"', b'"\xd9\xa1"', b'"2026-02-30 25:61:61 UTC"', b'"\n"'),
    *(
        b"[]",
        b"{}",
        b"[[]]",
        b"[" * 3000,
        b'{"a":' * 3000,
        b"[" * 900 + b"]" * 900,
        b'{"id":1,"id":2}',
        b"]",
        b"}",
        b"",
    ),
    *(b'"push"', b'"merge_request"', b'"issue"', b'"pipeline"', b'"build"', b'"note"', b'"1770000000"', b"1770000000"),
]
_STAMPS = [b"%d" % (NOW + step) for step in (0, 299, 300, 301, -300, -301, 10**9)] + [
    *(b"", b"-5", b"9" * 5000, b"+1780000000", b"1780000000.0", b"\xd9\xa1", b" 1780000000", b"0" * 2 + b"1780000000"),
]
_NAMES = (
    *(b"x-gitlab-token", b"x-gitlab-event", b"x-gitlab-instance", b"idempotency-key", b"webhook-id", b"content-length"),
    *(b"webhook-timestamp", b"webhook-signature", b"x-gitlab-signature", b"x-hub-signature-256", b"content-encoding"),
    b"x-forwarded-for",
)
_TOKEN, _SIGNATURE, _RELAYED = 1, 2, 4
_PROOFS = (0, _TOKEN, _TOKEN, _SIGNATURE, _SIGNATURE, _TOKEN | _SIGNATURE, _TOKEN | _SIGNATURE, _RELAYED)
_EVENTS = [b"Push Hook", b"Merge Request Hook", b"Issue Hook", b"Pipeline Hook", b"System Hook", b"", b"\xff"]


class Bytes(Protocol):
    """What we ask of `atheris.FuzzedDataProvider`, or of whatever else deals out choices."""

    def ConsumeIntInRange(self, low: int, high: int) -> int: ...  # noqa: N802
    def ConsumeBytes(self, count: int) -> bytes: ...  # noqa: N802


@dataclass
class Attempt:
    """One request, as a server hands it to an application."""

    hook_id: str
    method: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    """All that is sent, if the client stays to its end."""
    messages: list[dict[str, Any]]

    @property
    def route(self) -> Route | None:
        return ROUTES.get(self.hook_id)

    @property
    def stays(self) -> bool:
        """Whether the client sends its whole body."""
        return self.messages[-1]["type"] == "http.request"

    def expected(self) -> set[int]:
        """The statuses that the contract allows while the log works; empty: no answer, as nobody is there."""
        if self.method != "POST":
            return {405}
        announced = dict(self.headers).get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > CAP:
            return {413}
        size = 0
        for message in self.messages:
            size += len(message.get("body", b""))
            if size > CAP:
                return {413}
        if not self.stays:
            return set()
        if self.hook_id == UNOPENED:
            return {503}
        return {200, 400} if is_authentic(self.route, dict(self.headers), self.body) else {401}


def is_authentic(route: Route | None, headers: dict[bytes, bytes], body: bytes) -> bool:
    """The rules of verification once more, told in another way."""
    if route is None:
        return False
    keys = [c.signing_key for c in route.credentials if c.signing_key]
    tokens = {c.token.encode() for c in route.credentials if c.token}
    if keys and b"webhook-signature" in headers:
        stamp = headers.get(b"webhook-timestamp", b"")
        right = {_signature(key, headers.get(b"webhook-id", b""), stamp, body) for key in keys}
        fresh = re.fullmatch(rb"[0-9]{1,12}", stamp) is not None and abs(int(stamp) - NOW) <= 300
        return fresh and not right.isdisjoint(headers[b"webhook-signature"].split()[:8])
    if route.require_signature:
        return False
    if b"x-gitlab-token" in headers:
        return headers[b"x-gitlab-token"] in tokens
    relayed = headers.get(b"x-gitlab-signature", headers.get(b"x-hub-signature-256"))
    if route.hook_id or relayed is None:
        return False
    return relayed.decode("latin-1").strip().lower() in {_relayed(t, body).decode() for t in tokens}


def attempt(data: Bytes) -> Attempt:
    """One request of these bytes."""
    hook_id = _pick(data, _PATHS)
    body = body_of(data)
    headers = _headers(data, ROUTES.get(hook_id), body)
    for _ in range(max(0, data.ConsumeIntInRange(0, 6) - 3)):  # half of all are left as they are
        _spoil(data, headers)
    if not data.ConsumeIntInRange(0, 7):  # what was signed is not what comes
        body = body[: data.ConsumeIntInRange(0, len(body))] + data.ConsumeBytes(4)
    method = _pick(data, ["GET", "PUT", "", "post"]) if not data.ConsumeIntInRange(0, 20) else "POST"
    return Attempt(hook_id, method, headers, body, _messages(data, body))


def body_of(data: Bytes) -> bytes:
    """A body of GitLab's with some values exchanged, or just bytes."""
    kind = data.ConsumeIntInRange(0, 255)
    if kind < 16:
        return data.ConsumeBytes(data.ConsumeIntInRange(0, 300))
    number = data.ConsumeIntInRange(0, len(_BODIES) - 1)
    body, places = _BODIES[number], _PLACES[number]
    for _ in range(max(0, data.ConsumeIntInRange(0, 6) - 3)):
        start, end = _pick(data, places)  # of the body as it was: after a first exchange, any place at all
        choice = data.ConsumeIntInRange(0, len(_NASTY) + 5)
        body = body[:start] + (_NASTY[choice] if choice < len(_NASTY) else data.ConsumeBytes(12)) + body[end:]
    if kind == 255 and not data.ConsumeIntInRange(0, 63):
        body = body.ljust(data.ConsumeIntInRange(250_000, CAP + 10))  # judged in a thread, or over the cap
    return body


def _headers(data: Bytes, route: Route | None, body: bytes) -> list[tuple[bytes, bytes]]:
    credentials = route.credentials if route and route.credentials else (Credential(0, "any", b"any" * 9),)
    credential = _pick(data, credentials)
    name = b"id-%d" % data.ConsumeIntInRange(0, 3)
    headers = [(b"x-gitlab-event", _pick(data, _EVENTS)), (b"x-gitlab-instance", b"https://gitlab.example.com/")]
    headers.append((_pick(data, (b"idempotency-key", b"webhook-id")), name))
    proof = _pick(data, _PROOFS)
    if proof & _TOKEN:
        headers.append((b"x-gitlab-token", credential.token.encode()))
    if proof & _SIGNATURE:
        stamp = _STAMPS[0] if data.ConsumeIntInRange(0, 3) else _pick(data, _STAMPS)
        signature = _signature(credential.signing_key or b"no" * 16, name, stamp, body)
        padding = b"v1,none " * data.ConsumeIntInRange(0, 9) if not data.ConsumeIntInRange(0, 3) else b""
        headers += (b"webhook-id", name), (b"webhook-timestamp", stamp), (b"webhook-signature", padding + signature)
    if proof & _RELAYED:
        headers.append(
            (_pick(data, (b"x-gitlab-signature", b"x-hub-signature-256")), _relayed(credential.token.encode(), body))
        )
    return headers


def _spoil(data: Bytes, headers: list[tuple[bytes, bytes]]) -> None:
    place = data.ConsumeIntInRange(0, len(headers))
    if place == len(headers):
        headers.append((_pick(data, _NAMES), data.ConsumeBytes(data.ConsumeIntInRange(0, 200))))
        return
    name, value = headers[place]
    match data.ConsumeIntInRange(0, 4):
        case 0:
            del headers[place]
        case 1:
            headers[place] = (name, value[: data.ConsumeIntInRange(0, len(value))])
        case 2:
            at = data.ConsumeIntInRange(0, len(value))
            headers[place] = (name, value[:at] + data.ConsumeBytes(2) + value[at + 1 :])
        case 3:
            headers[place] = (name, value.swapcase())
        case _:
            headers[place] = (_pick(data, _NAMES), value)


def _messages(data: Bytes, body: bytes) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    rest = body
    for _ in range(max(0, data.ConsumeIntInRange(0, 6) - 3)):
        at = data.ConsumeIntInRange(0, len(rest))
        messages.append({"type": "http.request", "body": rest[:at], "more_body": True})
        rest = rest[at:]
    last = data.ConsumeIntInRange(0, 15)
    if last == 0:
        return [*messages, {"type": "http.disconnect"}]
    end: dict[str, Any] = {"type": "http.request", "body": rest}
    if last == 1:
        return [*messages, end | {"more_body": True}, {"type": "http.request"}]
    return [*messages, end | {"more_body": False} if last < 8 else end]


def _signature(key: bytes, name: bytes, stamp: bytes, body: bytes) -> bytes:
    message = b".".join((name, stamp, body))
    return b"v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest())


def _relayed(token: bytes, body: bytes) -> bytes:
    return b"sha256=" + hmac.new(token, body, hashlib.sha256).hexdigest().encode()


def _pick(data: Bytes, choices: Any) -> Any:
    return choices[data.ConsumeIntInRange(0, len(choices) - 1)]
