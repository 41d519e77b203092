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
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.issue import Issue
from gitpulse_service.events.merge_request import MergeRequest
from gitpulse_service.events.pipeline import Pipeline
from gitpulse_service.events.push import Push
from gitpulse_service.events.timestamps import dec_hook

Event: TypeAlias = Push | MergeRequest | Issue | Pipeline
"""What is counted. Every other kind is kept raw."""


_decoders: dict[object, msgspec.json.Decoder[Event]] = {
    Kind.PUSH: msgspec.json.Decoder(Push, dec_hook=dec_hook),
    Kind.MERGE_REQUEST: msgspec.json.Decoder(MergeRequest, dec_hook=dec_hook),
    Kind.ISSUE: msgspec.json.Decoder(Issue, dec_hook=dec_hook),
    Kind.PIPELINE: msgspec.json.Decoder(Pipeline, dec_hook=dec_hook),
}
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def decode(envelope: Envelope) -> Event | None:
    """The event that a delivery tells of, or None where there is nothing to count. Raises Undecodable."""
    kind = classify(envelope.event, envelope.body)
    if isinstance(kind, Malformed):
        raise Undecodable(kind)
    decoder = _decoders.get(kind)
    if decoder is None:
        return None
    body = envelope.body
    if b"\\u0000" in body:  # GitLab keeps no NUL in a text, and PostgreSQL cannot; a relay may have let one through
        body = _NUL.sub(rb"\1", body)
    try:
        event = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"{kind}: {error}") from None
    if isinstance(event, Push) and event.is_invented:
        return None
    if event.gitlab_project_id is None:
        raise Undecodable(f"{kind}: Object missing required field `id` - at `$.project`")
    return event
