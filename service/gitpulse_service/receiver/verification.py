"""Who may deliver: signature and token checks, sans-IO.

https://docs.gitlab.com/user/project/integrations/webhooks/ and https://www.standardwebhooks.com tell the rules. It
knows bytes and a route; it must not know how either arrived.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from enum import StrEnum

from gitpulse_service.contract import Credential, Route, SettingsError

TOLERANCE = 300
"""Seconds by which `webhook-timestamp` may be off, either way; the Standard Webhooks libraries' own figure."""
_SIGNING_PREFIX = "whsec_"
_MOST_SIGNATURES = 8
"""Signatures of one header that are looked at. GitLab sends one; this bounds what a stranger can make us compare."""
_RELAY_HEADERS = (b"x-gitlab-signature", b"x-hub-signature-256")


class Refusal(StrEnum):
    """Why a delivery is not authentic. For us and the operator; the sender hears the same for all of them."""

    UNKNOWN_HOOK = "unknown_hook"
    NO_SECRET = "no_secret"  # noqa: S105
    WRONG_TOKEN = "wrong_token"  # noqa: S105
    WRONG_SIGNATURE = "wrong_signature"
    STALE = "stale_timestamp"
    UNSIGNED = "signature_required"


def manual_route(secret: str) -> Route:
    """The route of the hook that is configured by hand. Raises SettingsError.

    A secret that begins with `whsec_` is a signing token, as GitLab has it; a delivery must then be signed.
    """
    secret = _as_sent(secret)
    if not secret:
        raise SettingsError("GITLAB_WEBHOOK_SECRET: is empty; give it a value, or do not set it")
    if not secret.startswith(_SIGNING_PREFIX):
        return Route("", "", "", (Credential(0, token=secret),))
    try:
        key = base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError("GITLAB_WEBHOOK_SECRET: begins with whsec_, so 32 bytes in base64 must follow")
    return Route("", "", "", (Credential(0, signing_key=key),), require_signature=True)


def verify(route: Route | None, headers: Mapping[bytes, bytes], body: bytes, *, now: float) -> int | Refusal:
    """The generation of the secret that proves this delivery, or why it is refused.

    `route` is None for an unknown hook; header names are in lower case; `now` is in Unix seconds. Every refusal does
    the same work whatever the route holds, so that its time tells nothing.
    """
    known = route or _NOBODY
    credentials = (known.credentials + _NOBODY.credentials)[: max(2, len(known.credentials))]
    signature = headers.get(b"webhook-signature")
    token = headers.get(b"x-gitlab-token")
    signed = None if signature is None else _signed_by(credentials, signature, headers, body)
    named = _named_by(credentials, token or b"")
    by_signature = signature is not None and any([c.signing_key for c in credentials])  # noqa: C419 -- always all

    if route is None:
        return Refusal.UNKNOWN_HOOK
    if by_signature:
        if signed is None:
            return Refusal.WRONG_SIGNATURE
        return signed if _is_recent(headers.get(b"webhook-timestamp", b""), now) else Refusal.STALE
    if route.require_signature:
        return Refusal.UNSIGNED
    if named is not None:
        return named
    if token is None and not route.hook_id:
        return _relayed_by(route.credentials, headers, body)
    return Refusal.NO_SECRET if token is None else Refusal.WRONG_TOKEN


def verify_gitlab_signature(payload: bytes, signature: str, secret: str) -> bool:
    """Whether `signature`, as `sha256=<hex>`, is the HMAC-SHA256 of the payload under this secret.

    GitLab itself sends no such header; relays that sign anew do.
    """
    expected = f"sha256={hmac.digest(secret.encode(), payload, 'sha256').hex()}"
    return bool(secret) and hmac.compare_digest(expected.encode(), signature.strip().lower().encode())


def _signed_by(
    credentials: tuple[Credential, ...], signature: bytes, headers: Mapping[bytes, bytes], body: bytes
) -> int | None:
    head = b"%b.%b." % (headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b""))
    offered = signature.split()[:_MOST_SIGNATURES]
    found = None
    for credential in reversed(credentials):  # the current one, the first, has the last word
        mac = hmac.new(credential.signing_key or _NO_KEY, head, "sha256")
        mac.update(body)  # copies nothing, and lets other threads run while it takes in a large one
        expected = b"v1," + base64.b64encode(mac.digest())
        if any(hmac.compare_digest(expected, entry) for entry in offered):
            found = credential.generation
    return found


def _named_by(credentials: tuple[Credential, ...], token: bytes) -> int | None:
    found = None
    for credential in reversed(credentials):
        if hmac.compare_digest(_as_sent(credential.token or _NO_TOKEN).encode(), token):
            found = credential.generation
    return found


def _relayed_by(credentials: tuple[Credential, ...], headers: Mapping[bytes, bytes], body: bytes) -> int | Refusal:
    signature = next((headers[name] for name in _RELAY_HEADERS if name in headers), None)
    if signature is None:
        return Refusal.NO_SECRET
    for credential in credentials:
        if verify_gitlab_signature(body, signature.decode("latin-1"), credential.token):
            return credential.generation
    return Refusal.WRONG_SIGNATURE


def _is_recent(timestamp: bytes, now: float) -> bool:
    # More digits than a second count will have for 30,000 years are refused, before `int` has to read them.
    return timestamp.isdigit() and len(timestamp) <= 12 and abs(int(timestamp) - now) <= TOLERANCE


def _as_sent(token: str) -> str:
    """A secret as it arrives: GitLab strips line breaks from it, and HTTP the blanks around a value."""
    return token.replace("\r", "").replace("\n", "").strip(" \t")


# What takes the place of a secret that is not there: never right, and as costly to try as a real one.
_NO_KEY = secrets.token_bytes(32)
_NO_TOKEN = secrets.token_hex(32)
_NOBODY = Route("", "", "", (Credential(0), Credential(0)))
