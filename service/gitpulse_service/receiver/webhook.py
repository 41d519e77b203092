"""The endpoint that GitLab delivers to: read, route, verify, store, answer.

A plain ASGI function, because on this path a framework's conveniences cost more than all our own work. It knows no
Kubernetes, no GitLab and no database.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from starlette.types import Receive, Scope, Send

from gitpulse_service import metrics
from gitpulse_service.contract import WEBHOOK_PATH, Route
from gitpulse_service.errors import DirectoryNotReady, LogUnavailable
from gitpulse_service.events.classify import Ignored, Kind, Malformed, classify
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.port import EventLog
from gitpulse_service.receiver import answers
from gitpulse_service.receiver.addresses import Address, Network, client_address, limited_as, within
from gitpulse_service.receiver.answers import Answer
from gitpulse_service.receiver.body import BodyTooLarge, ClientGone, NoRoom, Room, discard, read_body
from gitpulse_service.receiver.directory import Directory
from gitpulse_service.receiver.doorbell import Doorbell
from gitpulse_service.receiver.group_commit import GroupCommit
from gitpulse_service.receiver.limiter import Limiter
from gitpulse_service.receiver.refusals import RefusalNotes
from gitpulse_service.receiver.verification import Refusal, verify

logger = logging.getLogger(__name__)

_BIG = 256 * 1024
"""Bytes of body above which hashing and scanning are worth a thread."""
_LONGEST_ID = 128
"""Characters of a delivery id that are kept as they are."""

_Headers = Mapping[bytes, bytes]


def hook_of(path: str) -> str | None:
    """The hook id in a request's path: empty for the hook made by hand, None if the path is no webhook's."""
    rest = path.removeprefix(WEBHOOK_PATH)
    hook = rest.strip("/")
    return None if rest == path or (hook and rest[0] != "/") or "/" in hook else hook


class Webhook:
    """Answers deliveries.

    `directory` and `manual` are None where no such hooks are served; `allowed` is empty where anyone may deliver.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        doorbell: Doorbell,
        notes: RefusalNotes,
        directory: Directory | None,
        manual: Route | None,
        allowed: Sequence[Network],
        trusted: Sequence[Network],
        refused_limit: Limiter,
        hook_limit: Limiter,
        max_body_bytes: int,
        max_bytes_in_flight: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._commits = GroupCommit(log)
        self._large_commits = GroupCommit(log)  # of their own, or small ones would wait for them
        self._doorbell = doorbell
        self._notes = notes
        self._directory = directory
        self._manual = manual
        self._allowed = allowed
        self._trusted = trusted
        self._refused_limit = refused_limit
        self._hook_limit = hook_limit
        self._cap = max_body_bytes
        self._room = Room(max(max_bytes_in_flight, max_body_bytes))
        self._judging = asyncio.Lock()
        self._clock = clock

    async def __call__(self, hook_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = dict(scope["headers"])
        try:
            answer = await self._answer(hook_id, scope, headers, receive)
        except ClientGone:
            answers.GONE.inc()
            return
        except Exception as error:
            fields = _fields(hook_id, headers, "internal_error")
            logger.exception("the receiver has a bug: %s", type(error).__name__, extra=fields)
            answer = answers.FAILED
        answer.counter.inc()
        metrics.WEBHOOK_DURATION.observe(time.perf_counter() - started)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        if answer.early:
            await send({"type": "http.response.body", "body": answer.body, "more_body": True})
            await discard(receive)
            await send({"type": "http.response.body"})
        else:
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, hook_id: str, scope: Scope, headers: _Headers, receive: Receive) -> Answer:
        if self._allowed:
            address = client_address(scope["client"], scope["headers"], self._trusted)
            if not within(address, self._allowed):
                if not self._refused_limit.hit(limited_as(address)):  # it bounds the log here, and no more
                    logger.warning("delivery refused", extra=_fields(hook_id, headers, "address", address))
                return answers.FORBIDDEN
        if scope["method"] != "POST":
            return answers.METHOD_NOT_ALLOWED
        try:
            body = await read_body(headers, receive, cap=self._cap, room=self._room)
        except BodyTooLarge:
            logger.warning("delivery refused", extra=_fields(hook_id, headers, "body_too_large"))
            return answers.TOO_LARGE
        except NoRoom:
            logger.warning("delivery not read: too many large ones at once", extra=_fields(hook_id, headers, "no_room"))
            return answers.NO_ROOM
        metrics.WEBHOOK_BYTES.inc(len(body))
        try:
            return await self._deliver(hook_id, scope, headers, body)
        except (LogUnavailable, DirectoryNotReady) as error:
            logger.warning("delivery not stored: %s", error, extra=_fields(hook_id, headers, error.reason))
            return answers.UNAVAILABLE[error.reason]
        finally:
            self._room.leave(len(body))

    async def _deliver(self, hook_id: str, scope: Scope, headers: _Headers, body: bytes) -> Answer:
        route = self._route(hook_id)
        now = self._clock()
        if len(body) > _BIG:
            async with self._judging:  # one at a time: the scan of each keeps the interpreter to itself for a moment
                verdict, kind = await asyncio.to_thread(_judge, route, headers, body, now)
        else:
            verdict, kind = _judge(route, headers, body, now)
        if isinstance(verdict, Refusal):
            if route is not None and hook_id:
                self._notes.note(hook_id, verdict)
            return self._refuse(hook_id, scope, headers, verdict)
        if wait := self._hook_limit.hit(hook_id or "manual"):
            return answers.too_many("hook_limit", wait)
        if isinstance(kind, Ignored):
            return answers.IGNORED[kind]
        envelope = Envelope(
            hook_id=hook_id,
            delivery_id=_delivery_id(headers),
            event=_text(headers, b"x-gitlab-event"),
            # Nothing signs the header: who knows one hook's secret must not write another GitLab's numbers.
            instance=(route.instance if route else "") or _text(headers, b"x-gitlab-instance").rstrip("/"),
            generation=verdict,
            received_at=int(now * 1000),
            body=body,
            trace=self._span(),
        )
        if isinstance(kind, Malformed):
            await self._log.bury_unread(envelope, kind)
            logger.warning("delivery refused", extra=_fields(hook_id, headers, kind))
            return answers.MALFORMED[kind]
        commits = self._large_commits if len(body) > _BIG else self._commits
        receipt = await commits.append(envelope)
        self._doorbell.ring(receipt)
        return answers.stored(receipt)

    def _refuse(self, hook_id: str, scope: Scope, headers: _Headers, verdict: Refusal) -> Answer:
        address = client_address(scope["client"], scope["headers"], self._trusted)
        if wait := self._refused_limit.hit(limited_as(address)):
            return answers.too_many("refused_limit", wait)  # a line of the log for each would be a flood too
        logger.warning("delivery refused", extra=_fields(hook_id, headers, verdict, address))
        return answers.UNAUTHORIZED[verdict]

    def _span(self) -> str:
        """What a worker's trace links to; see `TracedWebhook`."""
        return ""

    def _route(self, hook_id: str) -> Route | None:
        if not hook_id:
            return self._manual
        return self._directory.route(hook_id) if self._directory else None


def _judge(
    route: Route | None, headers: _Headers, body: bytes, now: float
) -> tuple[int | Refusal, Kind | Ignored | Malformed | None]:
    """Who proved it, and, only once that is known, what it is."""
    verdict = verify(route, headers, body, now=now)
    return verdict, None if isinstance(verdict, Refusal) else classify(_text(headers, b"x-gitlab-event"), body)


def _delivery_id(headers: _Headers) -> str:
    """What the sender calls this delivery, the same when it is sent again. GitLab before 17.4 calls it nothing."""
    name = _text(headers, b"webhook-id") or _text(headers, b"idempotency-key")
    if len(name) > _LONGEST_ID:
        return sha256(name.encode()).hexdigest()
    return name or uuid.uuid4().hex


def _text(headers: _Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")  # whatever bytes come, no two become the same text


def _fields(hook_id: str, headers: _Headers, reason: str, client: Address | None = None) -> dict[str, dict[str, str]]:
    """What a log line says beside its message. Never a secret, and no more of a stranger's text than helps."""
    delivery = _text(headers, b"webhook-id") or _text(headers, b"idempotency-key")
    fields = {"hook_id": hook_id[:64], "delivery_id": delivery[:64], "reason": str(reason)}
    return {"fields": fields | ({"client": str(client)} if client else {})}
