"""The operator's part: are resources looked at, is the directory of hooks published, and can it be opened here?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Seen, fine, wrong
from gitpulse_cli.doctor.patient import Patient
from gitpulse_cli.places import name
from gitpulse_operator.domain.spec import parse_project
from gitpulse_operator.errors import SpecInvalid
from gitpulse_operator.reconcile.resource import Resource
from gitpulse_service.contract import DIRECTORY, DIRECTORY_SHARDS, Unsealable, is_complete, unseal
from gitpulse_service.log.connection import log_errors

SAMPLE = 20
"""Records of the directory that are opened."""


def managed(patient: Patient) -> Iterable[Subject]:
    """The installation, where there is an operator."""
    return [Subject()] if patient.world else []


async def resources(patient: Patient, _: Subject) -> AsyncIterator[Seen]:
    """Are there any, and does the operator look at them?"""
    known = {each for it in patient.projects for each in (it.ref.name, name(it))}
    missing = [each for each in patient.names if each not in known]
    if missing or not known:
        yield wrong(causes.NO_RESOURCES, f"there is no GitPulseProject {', '.join(missing)}".rstrip())
        return
    behind = [str(it.ref) for it in patient.projects if not _is_seen(it)]
    if behind:
        yield wrong(causes.OPERATOR_NOT_RUNNING, f"not looked at since it was written: {_some(behind)}")
        return
    yield fine(f"{len(patient.projects)} GitPulseProjects, each looked at since it was written")


async def spec(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """What a cluster refuses, and a folder does not."""
    resource = next(it for it in patient.projects if patient.subject_of(it) == subject)
    try:
        parse_project(resource.spec)
    except SpecInvalid as error:
        yield wrong(causes.SPEC_INVALID, str(error))


async def directory(patient: Patient, _: Subject) -> AsyncIterator[Seen]:
    """The records in Redis, by which receivers know hooks."""
    assert patient.world
    redis: Any = patient.redis
    with log_errors():
        shards = await redis.hvals(DIRECTORY_SHARDS)
        number = await redis.hlen(DIRECTORY)
        _, records = await redis.hscan(DIRECTORY, count=SAMPLE)
    if records and not any(_opens(patient.world.installation_key, *record) for record in records.items()):
        yield wrong(causes.KEY_DIFFERS, f"none of {len(records)} records opens")
    elif not is_complete(shards):
        said = f"{len(shards)} of {max(map(int, shards))} shards are published" if shards else "nothing is published"
        yield wrong(causes.OPERATOR_NOT_RUNNING, f"{said} in this Redis, so that receivers answer 503")
    else:
        yield fine(f"{number} hooks are published, and this installation key opens them")


def _is_seen(resource: Resource) -> bool:
    return resource.status.get("observedGeneration") == resource.generation or resource.deleted_at is not None


def _opens(key: bytes, hook: bytes, record: bytes) -> bool:
    try:
        unseal(key, hook.decode(errors="replace"), record)
    except Unsealable:
        return False
    return True


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


SPEC = Check("spec", lambda patient: map(patient.subject_of, patient.projects), spec)
OPERATOR = Check("operator", managed, resources)
DIRECTORY_CHECK = Check("directory", managed, directory, needs=("redis", "operator"))
