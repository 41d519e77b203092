"""`gitpulse verify`: is a captured request authentic under a secret, and if not, what is wrong with it?

The verdict is the receiver's own; what explains a refusal is found by trying what goes wrong on the way to it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import typer

from gitpulse_cli.errors import WrongInput
from gitpulse_cli.inputs import bytes_of
from gitpulse_cli.output import Format, dump
from gitpulse_cli.secrets import given
from gitpulse_service.contract import Route
from gitpulse_service.receiver.verification import TOLERANCE, Refusal, manual_route, verify

_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")
_SIGNED = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")


class Captured(NamedTuple):
    """A request as it came: names in lower case."""

    headers: Mapping[bytes, bytes]
    body: bytes


def run(file: Path, secret_file: Path | None, output: Format) -> bool:
    """Prints the verdict; whether it is authentic. Raises WrongInput, and SettingsError where the secret is none."""
    request = parse(typer.get_binary_stream("stdin").read() if str(file) == "-" else bytes_of(file))
    secret = given(secret_file)
    refusal = verdict(manual_route(secret), request, now=time.time())
    found = list(findings(refusal, request, secret, now=time.time())) if refusal else []
    if output is not Format.TABLE:
        about = {"authentic": not refusal, "refusal": refusal and refusal.value, "request": _what(request)}
        dump({**about, "findings": found}, output)
    else:
        typer.echo(f"{f'refused ({refusal})' if refusal else 'authentic'}: {_what(request)}")
        for finding in found:
            typer.echo(f"- {finding}")
    return refusal is None


def parse(raw: bytes) -> Captured:
    """An HTTP/1.1 request as tools like `nc` show it; its first line may be missing. Raises WrongInput."""
    head, blank, body = _halves(raw)
    lines = head.splitlines()
    if lines and not _HEADER.fullmatch(lines[0]):
        del lines[0]  # POST /api/v1/webhooks/gitlab HTTP/1.1
    found = [_HEADER.fullmatch(line) for line in lines]
    if not blank or not lines or not all(found):
        raise WrongInput("that is no HTTP request: headers, a line with nothing in it, and the body are wanted")
    headers = {it[1].lower(): it[2].strip() for it in found if it}
    length = headers.get(b"content-length", b"")
    if length.isdigit() and len(body) > int(length):
        body = body[: int(length)]  # an editor ends a file with a line break
    return Captured(headers, body)


def verdict(route: Route, request: Captured, *, now: float) -> Refusal | None:
    """Why the receiver would refuse it."""
    found = verify(route, request.headers, request.body, now=now)
    return found if isinstance(found, Refusal) else None


def findings(refusal: Refusal, request: Captured, secret: str, *, now: float) -> Iterator[str]:
    """What is wrong, and what to do; at least one."""
    headers, body = request
    length = headers.get(b"content-length", b"")
    if length.isdigit() and len(body) < int(length):
        yield f"the body has {len(body)} bytes of the {int(length)} that were announced: capture all of it"
        return
    route = manual_route(secret)
    match refusal:
        case Refusal.STALE:
            yield _stale(headers.get(b"webhook-timestamp", b""), now)
        case Refusal.UNSIGNED:
            missing = [name.decode() for name in _SIGNED if name not in headers]
            yield f"a signing token wants a signature, and {', '.join(missing)} did not come"
            yield "the hook has no signing token in GitLab, or a proxy on the way drops these headers"
        case Refusal.NO_SECRET:
            yield "there is no X-Gitlab-Token: the hook has no secret token in GitLab, or a proxy on the way drops it"
        case Refusal.WRONG_TOKEN:
            yield from _wrong_token(headers.get(b"x-gitlab-token", b"").decode(errors="replace"), secret)
        case _:
            yield from _wrong_signature(route, request, now)


def _stale(timestamp: bytes, now: float) -> str:
    if not timestamp.isdigit():
        return f"webhook-timestamp is not a number of seconds: {timestamp.decode(errors='replace')!r}"
    off = int(timestamp) - now
    return (
        f"the signature is right, and {abs(off):.0f} s {'old' if off < 0 else 'ahead'}, where {TOLERANCE} are allowed: "
        "a request that was captured earlier is refused so, and one that is new where a clock is wrong"
    )


def _wrong_token(came: str, secret: str) -> Iterator[str]:
    if came.startswith("whsec_"):
        yield "what came is a signing token in the field of the secret token: enter it as the signing token in GitLab"
    elif came.strip().casefold() == secret.casefold():
        yield "upper and lower case differ"
    elif came.startswith(secret) or secret.startswith(came):
        yield f"one begins with the other: {len(came)} characters came, the secret has {len(secret)}"
    else:
        yield "the token that came is another one: GitLab has an old or another hook's; set it there anew"


def _wrong_signature(route: Route, request: Captured, now: float) -> Iterator[str]:
    for name in _SIGNED[:2]:
        if name not in request.headers:
            yield f"{name.decode()} did not come, and is signed too: a proxy on the way drops it"
    for body, change in _changed(request.body):
        if verdict(route, Captured(request.headers, body), now=now) in (None, Refusal.STALE):
            yield f"with {change} the signature is right: something on the way, or the capture, has changed the body"
            return
    yield "the secret is another one, or the body is not what GitLab sent, byte by byte: nothing may write it anew"


def _changed(body: bytes) -> Iterator[tuple[bytes, str]]:
    yield body.rstrip(b"\r\n"), "the line break at its end removed"
    yield body + b"\n", "a line break at its end"
    yield body.replace(b"\r\n", b"\n"), "its line breaks as LF"
    with suppress(ValueError):
        content = json.loads(body)
        yield json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode(), "its JSON written without blanks"
        yield json.dumps(content, separators=(",", ":")).encode(), "its JSON written without blanks, in ASCII"


def _halves(raw: bytes) -> tuple[bytes, bytes, bytes]:
    ends = [(raw.find(blank), blank) for blank in (b"\r\n\r\n", b"\n\n") if blank in raw]
    return raw.partition(min(ends)[1]) if ends else (raw, b"", b"")


def _what(request: Captured) -> str:
    event = request.headers.get(b"x-gitlab-event", b"a request").decode(errors="replace")
    instance = request.headers.get(b"x-gitlab-instance", b"").decode(errors="replace")
    return f"{event}{f' from {instance}' if instance else ''}, {len(request.body)} bytes"
