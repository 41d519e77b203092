"""What the receiver answers, made once at start. GitLab shows these bodies in a hook's log, so they say what to do."""

from __future__ import annotations

import msgspec
from prometheus_client import Counter

from gitpulse_service.events.classify import Ignored, Malformed
from gitpulse_service.log.port import Receipt
from gitpulse_service.metrics import WEBHOOK_REQUESTS
from gitpulse_service.receiver.verification import Refusal

Headers = list[tuple[bytes, bytes]]


class Answer(msgspec.Struct, frozen=True):  # made once a delivery: a frozen dataclass takes ten times as long
    """A whole response, and the counter of its outcome."""

    status: int
    body: bytes
    headers: Headers
    counter: Counter
    outcome: str
    """`accepted`, `duplicate`, `ignored` or `error`, as the counter has it."""
    reason: str = ""
    early: bool = False
    """Given before the body was read."""


def _headers(body: bytes, *more: tuple[bytes, bytes]) -> Headers:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more]


def _error(
    status: int, reason: str, message: str, *more: tuple[bytes, bytes], counted: str = "", early: bool = False
) -> Answer:
    body = msgspec.json.encode({"status": "error", "reason": reason, "message": message})
    if early:
        more += ((b"connection", b"close"),)
    counted = counted or reason
    counter = WEBHOOK_REQUESTS.labels("error", counted)
    return Answer(status, body, _headers(body, *more), counter, "error", counted, early)


_ACCEPTED = WEBHOOK_REQUESTS.labels("accepted", "")
_DUPLICATE = WEBHOOK_REQUESTS.labels("duplicate", "")
_RETRY_AFTER = (b"retry-after", b"5")


def stored(receipt: Receipt) -> Answer:
    """200: the delivery is in the log."""
    status, counter = ("duplicate", _DUPLICATE) if receipt.duplicate else ("accepted", _ACCEPTED)
    body = b'{"status":"%b","job_id":"%b"}' % (status.encode(), receipt.job_id.encode())
    return Answer(200, body, _headers(body), counter, status)


def too_many(reason: str, wait: int) -> Answer:
    """429, of the `refused_limit` or the `hook_limit`: come back in so many seconds."""
    answer = _TOO_MANY[reason]
    return msgspec.structs.replace(answer, headers=[*answer.headers, (b"retry-after", b"%d" % wait)])


IGNORED = {
    reason: Answer(
        200,
        b'{"status":"ignored"}',
        _headers(b'{"status":"ignored"}'),
        WEBHOOK_REQUESTS.labels("ignored", reason.value),
        "ignored",
        reason.value,
    )
    for reason in Ignored
}
MALFORMED = {
    Malformed.NOT_JSON: _error(400, "not_json", "The body is not JSON."),
    Malformed.NOT_AN_OBJECT: _error(400, "not_an_object", "The body is JSON, but not an object."),
}
UNAUTHORIZED = {
    # The sender hears the same whatever is wrong; the reason is for the metrics alone.
    reason: _error(
        401,
        "unauthorized",
        "No such hook, or its secret is missing, wrong or out of date.",
        counted=reason.value,
    )
    for reason in Refusal
}
METHOD_NOT_ALLOWED = _error(
    405, "method_not_allowed", "A webhook is delivered with POST.", (b"allow", b"POST"), early=True
)
FORBIDDEN = _error(
    403, "forbidden", "This address is not one of GITPULSE_ALLOWED_ADDRESSES.", counted="address", early=True
)
TOO_LARGE = _error(413, "body_too_large", "The body is larger than GITPULSE_MAX_BODY_BYTES allows.", early=True)
_TOO_MANY = {
    reason: _error(429, "too_many_requests", "Too many deliveries; come back later.", counted=reason)
    for reason in ("refused_limit", "hook_limit")
}
UNAVAILABLE = {
    reason: _error(
        503, "unavailable", "The delivery cannot be stored now; send it again.", _RETRY_AFTER, counted=reason
    )
    for reason in ("LogUnavailable", "LogFull", "DirectoryNotReady")
}
NO_ROOM = _error(
    503,
    "unavailable",
    "Too many large deliveries at once; send it again.",
    _RETRY_AFTER,
    counted="no_room",
    early=True,
)
FAILED = _error(500, "internal_error", "This should not happen; the receiver's log says more.")
GONE = WEBHOOK_REQUESTS.labels("error", "client_disconnected")
