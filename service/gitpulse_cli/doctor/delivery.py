"""Whether a hook delivers: by a test delivery that GitLab makes, what receivers have noted, and GitLab's log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Cause, Seen, fine, passed, wrong
from gitpulse_cli.doctor.gitlab import refused
from gitpulse_cli.doctor.patient import Hook, Patient
from gitpulse_cli.doctor.worker import survey
from gitpulse_operator.domain.delivery import Feedback, Logged
from gitpulse_operator.errors import OperatorError
from gitpulse_service.contract import DIRECTORY
from gitpulse_service.log.connection import log_errors

_GITLAB_SAYS = (
    ("is blocked: host cannot be resolved", causes.GITLAB_CANNOT_RESOLVE),
    ("is blocked", causes.OUTBOUND_BLOCKED),
    ("silent mode", causes.GITLAB_SILENT),
    ("getaddrinfo", causes.GITLAB_CANNOT_RESOLVE),
    ("ssl_connect", causes.GITLAB_DISTRUSTS),
    ("failed to open tcp connection", causes.GITLAB_CANNOT_CONNECT),
    ("execution expired", causes.GITLAB_CANNOT_CONNECT),
    ("timeout", causes.GITLAB_CANNOT_CONNECT),
    ("end of file reached", causes.GITLAB_CANNOT_CONNECT),
    ("connection reset", causes.GITLAB_CANNOT_CONNECT),
)
"""Words of GitLab (and of Ruby within them) where no answer came, in small letters."""
_RECEIVER_SAYS = {
    "unauthorized": causes.SECRET_REFUSED,
    "forbidden": causes.ADDRESS_REFUSED,
    "unavailable": causes.RECEIVER_NOT_READY,
    "too_many_requests": causes.LIMITED,
}
_STATUS_SAYS = {
    **dict.fromkeys((401, 403, 407), causes.PROXY_REFUSES),
    **dict.fromkeys((404, 405), causes.WRONG_PATH),
    **dict.fromkeys((502, 503, 504), causes.PROXY_ALONE),
}


async def look(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """Asks whoever can tell, the surest first."""
    hook = next(it for it in patient.hooks if it.name == subject.name)
    notes = await _notes(patient, hook)
    try:
        if hook.observed.state != "executable":
            yield await _off(patient, hook, notes)
        elif attempt := await patient.test(hook):
            yield await _tested(patient, hook, notes, attempt.result, attempt.said)
        elif notes and notes.refusing:
            yield await _unauthorized(patient, hook, notes)
        elif (last := await _last(patient, hook)) and last.failed:
            yield await _logged(patient, hook, notes, last)
        else:
            yield fine("no test was made; the last delivery of GitLab's log was taken" if last else "no test was made")
    except OperatorError as error:
        yield refused(error)


def told_by_gitlab(said: str) -> Cause | None:
    """What keeps it from delivering, by its own words; None where they are an answer that it got."""
    return next((cause for words, cause in _GITLAB_SAYS if words in said.lower()), None)


async def _off(patient: Patient, hook: Hook, notes: Feedback | None) -> Seen:
    """Why it is off may still be so, and can be told where it is a secret."""
    last = await _last(patient, hook)
    if notes and notes.refusing:
        return await _unauthorized(patient, hook, notes)
    how = f"; the last delivery {_answered(last)}" if last and last.failed else ""
    cause = causes.HOOK_OFF_FOR_GOOD if hook.observed.state == "disabled" else causes.HOOK_OFF
    until = hook.observed.attributes.get("disabled_until")
    return wrong(cause, f"hook {hook.observed.id} of {hook.parent.path}{f', until {until}' if until else ''}{how}")


async def _tested(patient: Patient, hook: Hook, notes: Feedback | None, result: str, said: str) -> Seen:
    if result == "delivered":
        return fine("a test delivery of GitLab was taken")
    if result == "impossible":
        return passed(f"no test could be made: {said}")
    if reason := _reason(said):
        cause = _RECEIVER_SAYS.get(reason, causes.ANSWERED_BADLY)
        if cause is causes.SECRET_REFUSED:
            return await _unauthorized(patient, hook, await _notes(patient, hook))
        if cause is causes.RECEIVER_NOT_READY and (await survey(patient)).full >= 1:
            return passed("a test delivery was not taken, for the backlog is full: see the workers")
        return wrong(cause, f"a receiver answers GitLab: {said}")
    if told := told_by_gitlab(said):
        return wrong(told, f"GitLab says: {said}")
    last = await _last(patient, hook)
    return await _logged(patient, hook, notes, last) if last else wrong(causes.ANSWERED_BADLY, f"GitLab says: {said}")


async def _unauthorized(patient: Patient, hook: Hook, notes: Feedback | None) -> Seen:
    """A receiver has answered 401: why, it notes for those it knows."""
    why = notes.refused_reason if notes else ""
    has = any(hook.observed.present(credential) for credential in ("token", "signing_token"))
    cause: Cause = causes.SECRET_REFUSED
    if patient.world and not await _has_route(patient, hook):
        cause = causes.ROUTE_MISSING
    elif why == "stale_timestamp":
        cause = causes.CLOCK_OFF
    elif why == "signature_required" or (why == "no_secret" and has):
        cause = causes.HEADERS_DROPPED
    return wrong(cause, f"hook {hook.observed.id} of {hook.parent.path}" + (f"; receivers note: {why}" if why else ""))


async def _logged(patient: Patient, hook: Hook, notes: Feedback | None, last: Logged) -> Seen:
    if last.status == 401 and notes and notes.refusing:
        return await _unauthorized(patient, hook, notes)
    cause = (
        causes.GITLAB_CANNOT_CONNECT if last.status is None else _STATUS_SAYS.get(last.status, causes.ANSWERED_BADLY)
    )
    return wrong(cause, f"by GitLab's log the last delivery {_answered(last)}")


def _answered(last: Logged) -> str:
    return "got no answer" if last.status is None else f"was answered with {last.status}"


async def _notes(patient: Patient, hook: Hook) -> Feedback | None:
    return (await patient.world.directory.feedback(hook.route))[0] if patient.world else None


async def _has_route(patient: Patient, hook: Hook) -> bool:
    redis: Any = patient.redis
    with log_errors():
        return bool(await redis.hexists(DIRECTORY, hook.route))


async def _last(patient: Patient, hook: Hook) -> Logged | None:
    gitlab = await patient.gitlab(hook.connection)
    rows = (await gitlab.deliveries(hook.parent, hook.observed.id, limit=1)).rows
    return rows[0] if rows else None


def _reason(said: str) -> str:
    """Of an answer in a receiver's words, which GitLab repeats."""
    try:
        told = json.loads(said)
    except ValueError:
        return ""
    return str(told.get("reason") or "") if isinstance(told, Mapping) else ""


def subjects(patient: Patient) -> Iterable[Subject]:
    return [Subject(it.name, (it.connection, it.resource or it.connection, patient.url)) for it in patient.hooks]


DELIVERY = Check(
    "delivery", subjects, look, needs=("redis", "operator", "directory", "gitlab", "hook", "receiver", "ready", "clock")
)
