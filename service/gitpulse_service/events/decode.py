"""From a stored delivery to a typed event, without any IO.

Unknown fields are ignored and missing ones tolerated, as real deliveries differ by version, by edition and by instance.
A field of the wrong type is an error, because a number made of a guess is worse than an entry in the dead letters.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from gitpulse_service.errors import Undecodable
from gitpulse_service.events.classify import Kind, Malformed, classify
from gitpulse_service.events.deployment import Deployment
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.group import GroupChange
from gitpulse_service.events.issue import Issue
from gitpulse_service.events.merge_request import MergeRequest
from gitpulse_service.events.note import Note
from gitpulse_service.events.pipeline import Job, Pipeline
from gitpulse_service.events.push import Push
from gitpulse_service.events.release import Release
from gitpulse_service.events.timestamps import dec_hook

Event: TypeAlias = Push | MergeRequest | Note | Issue | Pipeline | Job | Deployment | Release | GroupChange

_TYPES: dict[Kind, type[Event]] = {
    Kind.PUSH: Push,
    Kind.TAG_PUSH: Push,
    Kind.MERGE_REQUEST: MergeRequest,
    Kind.NOTE: Note,
    Kind.ISSUE: Issue,
    Kind.WORK_ITEM: Issue,
    Kind.PIPELINE: Pipeline,
    Kind.JOB: Job,
    Kind.DEPLOYMENT: Deployment,
    Kind.RELEASE: Release,
    Kind.GROUP: GroupChange,
}
_decoders: dict[object, msgspec.json.Decoder[Event]] = {
    kind: msgspec.json.Decoder(of_kind, dec_hook=dec_hook) for kind, of_kind in _TYPES.items()
}
_OF_GROUPS = {Kind.GROUP, Kind.WORK_ITEM, Kind.NOTE}
"""Kinds that a group has too: its members, its epics, notes on those."""
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def decode(envelope: Envelope) -> Event | None:
    """The event that a delivery tells of, or None where there is nothing to count. Raises Undecodable."""
    kind = classify(envelope.event, envelope.body)
    if isinstance(kind, Malformed):
        raise Undecodable(kind)
    decoder = _decoders.get(kind)
    if decoder is None:
        return None
    try:
        event = decoder.decode(without_nul(envelope.body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"{kind}: {error}") from None
    if isinstance(event, Push) and event.is_invented:
        return None
    if event.gitlab_project_id is None and kind not in _OF_GROUPS:
        raise Undecodable(f"{kind}: Object missing required field `id` - at `$.project`")
    return event


def without_nul(body: bytes) -> bytes:
    """GitLab keeps no NUL in a text, and PostgreSQL cannot; a relay may have let one through."""
    return _NUL.sub(rb"\1", body) if b"\\u0000" in body else body
