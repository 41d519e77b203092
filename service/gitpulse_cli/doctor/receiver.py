"""The receivers' URL as this machine sees it: name, connection, TLS, path, and whether a receiver says it is ready.

GitLab may see another way than this machine. Where a test delivery comes through, what is seen from here is no fault.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Cause, Seen, fine, passed, wrong
from gitpulse_cli.doctor.patient import Patient
from gitpulse_cli.doctor.probe import Unreached, get
from gitpulse_service.contract import WEBHOOK_PATH

_OF_RECEIVER = ("method_not_allowed", "forbidden")
"""Reasons with which a receiver answers a GET of the path where deliveries are posted."""


def subjects(patient: Patient) -> Iterable[Subject]:
    return [Subject(patient.url)]


async def look(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """Asks the path of deliveries the wrong way: a receiver says so in its own words."""
    if not subject.name:
        yield passed("not checked: name the receivers' public URL with --url")
        return
    try:
        reply = await get(subject.name + WEBHOOK_PATH, verify=_verifies(patient))
    except Unreached as error:
        yield await _unless_gitlab_delivers(patient, error.cause, str(error))
        return
    if reply.told.get("reason") in _OF_RECEIVER:
        patient.receiver_ahead = reply.ahead
        yield fine("a receiver answers")
    elif reply.status in (401, 403, 405):  # as it should to all but GitLab
        yield fine(f"something in front answers this machine with {reply.status}; whether GitLab too is asked below")
    else:
        cause = causes.PROXY_ALONE if reply.status in (502, 503, 504) else causes.WRONG_PATH
        yield await _unless_gitlab_delivers(patient, cause, f"{WEBHOOK_PATH} answers with {reply.status}")


async def ready(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """What a receiver says of itself, where what is in front lets it."""
    try:
        reply = await get(f"{subject.name}/api/v1/ready", verify=_verifies(patient))
    except Unreached as error:
        yield passed(f"not checked: {error}")
        return
    if reply.told.get("status") == "ready":
        yield fine("a receiver says that it would take a delivery now")
    elif reply.told.get("reason") == "not_ready":
        yield wrong(causes.RECEIVER_NOT_READY, f"it says: {reply.told.get('message')}")
    else:
        yield passed(f"not checked: /api/v1/ready is not shown to this machine ({reply.status})")


async def _unless_gitlab_delivers(patient: Patient, cause: Cause, words: str) -> Seen:
    if await patient.gitlab_delivers():
        return fine(f"GitLab delivers there; this machine does not reach it ({words})")
    return wrong(cause, words)


def _verifies(patient: Patient) -> bool:
    """Whether a hook wants the certificate to be right."""
    hooks = patient.hooks
    return not hooks or any(it.observed.attributes.get("enable_ssl_verification") is not False for it in hooks)


def known(patient: Patient) -> Iterable[Subject]:
    return [Subject(patient.url)] if patient.url else []


RECEIVER = Check("receiver", subjects, look)
READY = Check("ready", known, ready, needs=("redis", "operator", "directory", "receiver"))
