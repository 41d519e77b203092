"""The delivery engine: one POST for each event and hook, once, as GitLab does it.

It knows hooks, not what is in a payload, and leaves the POST itself to a callable, which may keep the delivery instead.
An HTTP failure is never tried again; an event for a hook that is switched off, filtered or over the namespace's limit
is dropped and leaves no row in the log.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import io
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import msgspec
from multidict import CIMultiDict

from gitpulse_sim.hook import TOGGLES, Hook, blocked
from gitpulse_sim.hook_log import LogRow, redact
from gitpulse_sim.instance import SIGNING_TOKENS, Instance
from gitpulse_sim.template import render
from gitpulse_sim.world import Parent, Project, World

BODY_LIMIT = 25 * 1024 * 1024
LOGGED_BODY = 8 * 1024
LOGGED_HEADERS, LOGGED_HEADER_SIZE = 50, 1024
SIGNING_PREFIX = "whsec_"
AT_A_TIME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for every hook that wants it."""

    toggle: str
    data: Mapping[str, object]
    branch: str | None = None
    """Of a push: what a hook's branch filter looks at."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


Post = Callable[[Hook, CIMultiDict[str], bytes], Awaitable[Answer]]
"""Sends headers and body to a hook. Raises OSError or TimeoutError where there is no answer."""


def signing_key(token: str) -> bytes | None:
    """The HMAC key in a signing token: `whsec_` and base64 of exactly 32 bytes. None: it is malformed."""
    try:
        key = base64.b64decode(token.removeprefix(SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if token.startswith(SIGNING_PREFIX) and len(key) == 32 else None


def sign(key: bytes, delivery_id: str, timestamp: int, body: bytes) -> str:
    """One entry of `webhook-signature` (Standard Webhooks), over the exact bytes that are sent."""
    digest = hmac.digest(key, b"%s.%d.%s" % (delivery_id.encode(), timestamp, body), "sha256")
    return "v1," + base64.b64encode(digest).decode()


@contextlib.asynccontextmanager
async def delivering(world: World, post: Post | None = None) -> AsyncIterator[Engine]:
    """An engine that sends what happens in a world to its hooks until the block ends; over HTTP, or by `post`."""
    # No cookies, no proxies of the machine: only what GitLab would send.
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0), skip_auto_headers=["Accept"]
    ) as session:

        async def over_http(hook: Hook, headers: CIMultiDict[str], body: bytes) -> Answer:
            try:
                async with session.post(
                    hook.target,  # user-info in it becomes Basic auth
                    data=io.BytesIO(body),  # bytes of more than 1 MiB would be sent in one piece, and warned of
                    headers=headers,
                    ssl=hook.enable_ssl_verification,
                    timeout=aiohttp.ClientTimeout(total=world.instance.webhook_timeout),
                    allow_redirects=world.instance.follow_redirects,
                ) as response:
                    kept = await _first_bytes(response.content, LOGGED_BODY)
                    return Answer(response.status, list(response.headers.items()), kept)
            except TimeoutError:
                raise
            except aiohttp.ClientError as error:
                raise OSError(_in_ruby(error)) from error

        engine = Engine(world, post or over_http)
        try:
            yield engine
        finally:
            await engine.aclose()


def _in_ruby(error: aiohttp.ClientError) -> str:
    """What GitLab says where it gets no answer: Ruby's words, in the hook's log and in a test's refusal."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "unspecified")
            return f"SSL_connect returned=1 errno=0 state=error: certificate verify failed ({why})"
        case aiohttp.ClientConnectorDNSError():
            place, why = f"{error.host}:{error.port}", "getaddrinfo: Name or service not known"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
            place = f"{error.host}:{error.port}"
            why = f'{os.strerror(number)} - connect(2) for "{error.host}" port {error.port}'
        case aiohttp.ServerDisconnectedError():
            return "end of file reached"
        case _:
            return str(error) or type(error).__name__
    return f"Failed to open TCP connection to {place} ({why})"


class Engine:
    """Sends to hooks, so many at a time."""

    def __init__(self, world: World, post: Post) -> None:
        self._world = world
        self._post = post
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._sending: set[asyncio.Task[LogRow | None]] = set()
        self._calls: Counter[tuple[int, int]] = Counter()
        self.sent = 0
        """Deliveries that were attempted so far."""

    async def aclose(self) -> None:
        """Drops what is under way."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def emit(self, parent: Parent, event: Event) -> None:
        """Starts the deliveries of one event to all hooks that hear of it; waits only while too many are under way."""
        if isinstance(parent, Project):
            parent.events[event.toggle] += 1
            parent.last_event_at = self._world.clock.now()
        hooks = [hook for hook in self._world.hooks_for(parent) if self._wanted(hook, event)]
        body = msgspec.json.encode(event.data) if hooks else b""
        for hook in hooks:
            await self._slots.acquire()
            task = asyncio.create_task(self._deliver(hook, event, body))
            self._sending.add(task)
            task.add_done_callback(self._done)

    async def idle(self) -> None:
        """Waits until nothing is under way."""
        while self._sending:
            await asyncio.wait(self._sending)

    async def send(self, hook: Hook, event: Event, *, key: str | None = None) -> LogRow:
        """Sends at once, even if the hook is switched off: a test, or (with an earlier delivery's `key`) a resend."""
        return await self._attempt(hook, event, msgspec.json.encode(event.data), key or str(uuid.uuid4()))

    def _wanted(self, hook: Hook, event: Event) -> bool:
        if event.toggle not in hook.events:
            return False
        if reason := self._reason_to_drop(hook, event):
            hook.dropped[reason] += 1
        return not reason

    def _reason_to_drop(self, hook: Hook, event: Event) -> str:
        instance, now = self._world.instance, self._world.clock.now()
        if event.branch is not None and not hook.wants_branch(event.branch):
            return "branch filter"
        if hook.alert_status(instance, now) != "executable":
            return "disabled"
        if instance.silent_mode:
            return "silent mode"
        if not instance.webhook_calls_per_minute:
            return ""
        namespace = self._world.parent_of(hook).lineage()[-1]
        minute = (namespace.id, int(now.timestamp() // 60))
        self._calls[minute] += 1
        return "rate limit" if self._calls[minute] > instance.webhook_calls_per_minute else ""

    async def _deliver(self, hook: Hook, event: Event, body: bytes) -> LogRow | None:
        if hook.alert_status(self._world.instance, self._world.clock.now()) != "executable":
            hook.dropped["disabled"] += 1  # it was switched off while the event waited
            return None
        return await self._attempt(hook, event, body, str(uuid.uuid4()))

    def _done(self, task: asyncio.Task[LogRow | None]) -> None:
        self._slots.release()
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            raise error  # ours, not the receiver's: let the loop's handler show it

    async def _attempt(self, hook: Hook, event: Event, body: bytes, key: str) -> LogRow:
        world, started = self._world, time.monotonic()
        row = LogRow(
            id=world.next_id("hook log"), created_at=world.clock.now(), toggle=event.toggle,
            trigger=TOGGLES[event.toggle].trigger, url=hook.url, target=hook.target, idempotency_key=key,
        )  # fmt: skip
        headers = delivery_headers(world.instance, hook, event.toggle, key, base_url=world.url)
        try:
            data: object = event.data
            if hook.custom_webhook_template:
                body = render(hook.custom_webhook_template, data)
                data = msgspec.json.decode(body)
            if len(body) > BODY_LIMIT:
                row.request_data, row.error = {"oversize": True}, "the payload is larger than 25 MB"
            elif words := blocked(hook, world.instance):
                row.request_data, row.error = redact(data), words
            else:
                row.request_data = redact(data)
                _sign_into(headers, world.instance, hook, key, body)
                await self._send(row, hook, headers, body)
        except TimeoutError:
            row.error = "execution expired"
        except (OSError, ValueError) as error:
            row.error = str(error) or type(error).__name__
        row.request_headers = _logged_request(hook, headers)
        row.execution_duration = time.monotonic() - started
        if row.status is not None and row.status < 400:
            hook.succeeded()
        else:
            hook.failed(world.instance, world.clock.now(), status=row.status)
        hook.log.rows.append(row)
        return row

    async def _send(self, row: LogRow, hook: Hook, headers: CIMultiDict[str], body: bytes) -> None:
        self.sent += 1
        merged = CIMultiDict(hook.custom_headers)
        merged.update(headers)  # GitLab's own win on a clash, whatever the case
        answer = await self._post(hook, merged, body)
        row.response_status, row.response_body = str(answer.status), answer.body.decode(errors="replace")
        kept = answer.headers[:LOGGED_HEADERS]
        row.response_headers = {name.title(): value[:LOGGED_HEADER_SIZE] for name, value in kept}


def delivery_headers(instance: Instance, hook: Hook, toggle: str, key: str, *, base_url: str) -> CIMultiDict[str]:
    """All headers but the signature's; which ones depends on the version."""
    event = TOGGLES[toggle].header
    headers = CIMultiDict(
        {
            "Content-Type": "application/json",
            "User-Agent": f"GitLab/{instance.version}",
            "X-Gitlab-Event": instance.confidential_note_header if toggle == "confidential_note_events" else event,
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
            "X-Gitlab-Instance": base_url,
        }
    )
    if instance.at_least(17, 4):
        headers["Idempotency-Key"] = key
    if hook.token:
        headers["X-Gitlab-Token"] = hook.token.replace("\r", "").replace("\n", "")
    return headers


def _sign_into(headers: CIMultiDict[str], instance: Instance, hook: Hook, key: str, body: bytes) -> None:
    if not instance.at_least(*SIGNING_TOKENS):
        return
    # The wall's time, wherever the simulated clock stands: the receiver judges by its own.
    timestamp = int(time.time() + instance.signature_clock_skew)
    headers["webhook-id"] = key
    headers["webhook-timestamp"] = str(timestamp)
    if hook.signing_token and (secret := signing_key(hook.signing_token)):
        headers["webhook-signature"] = sign(secret, key, timestamp, body)


def _logged_request(hook: Hook, headers: CIMultiDict[str]) -> dict[str, str]:
    logged = dict.fromkeys(hook.custom_headers, "[REDACTED]") | dict(headers)
    if "X-Gitlab-Token" in logged:
        logged["X-Gitlab-Token"] = "[REDACTED]"
    return logged


async def _first_bytes(stream: aiohttp.StreamReader, limit: int) -> bytes:
    try:
        return await stream.readexactly(limit)
    except asyncio.IncompleteReadError as short:
        return short.partial
