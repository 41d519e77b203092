"""What kind of event a delivery is, or why it is not kept: one look at the body, without taking it apart."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """The kinds that are kept, named as in `object_kind`: those that a number is made of."""

    PUSH = "push"
    TAG_PUSH = "tag_push"
    MERGE_REQUEST = "merge_request"
    NOTE = "note"
    ISSUE = "issue"
    WORK_ITEM = "work_item"
    PIPELINE = "pipeline"
    JOB = "build"
    DEPLOYMENT = "deployment"
    RELEASE = "release"
    GROUP = "group"
    """Members, subgroups and projects of a group, which have an `event_name` and no `object_kind`."""


class Ignored(StrEnum):
    """Why an authentic delivery is answered 200 and dropped: any other answer makes GitLab disable the hook."""

    UNWANTED = "unwanted_kind"
    """A kind of GitLab's that no number is made of."""
    TEMPLATE = "custom_template"
    """Not one of GitLab's own bodies: the hook has a custom webhook template."""


class Malformed(StrEnum):
    """Why an authentic delivery is answered 400."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"


def classify(event: str, body: bytes) -> Kind | Ignored | Malformed:
    """The body decides; `event`, the `X-Gitlab-Event` header, only where a body of GitLab's own does not say."""
    try:
        head = _decode(body)
        name = _text(head.object_kind) or _text(head.event_name)
    except msgspec.ValidationError:
        return Malformed.NOT_AN_OBJECT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Malformed.NOT_JSON
    if name is None and (head.project_id != _NULL or bytes(memoryview(head.project)[:1]) == b"{"):
        name = _BY_HEADER.get(event)
    if not isinstance(name, str):
        return Ignored.TEMPLATE
    return _KINDS.get(name, Ignored.UNWANTED)


def kind_name(event: str, body: bytes) -> str:
    """The kind as metrics and live updates name it; `other`: none that is kept."""
    kind = classify(event, body)
    return kind.value if isinstance(kind, Kind) else "other"


_NULL = msgspec.Raw(b"null")
_LONGEST = 64
"""Bytes of the longest name that is read; no kind has one like that."""


class _Head(msgspec.Struct):
    """None of it is built: a list of eight million lists, in 25 MiB, would take minutes and gigabytes."""

    object_kind: msgspec.Raw = _NULL
    event_name: msgspec.Raw = _NULL
    project_id: msgspec.Raw = _NULL
    project: msgspec.Raw = _NULL


def _text(value: msgspec.Raw) -> str | msgspec.Raw | None:
    """A text or None; whatever else it is, as it came."""
    if value == _NULL:
        return None
    return _decode_text(value) if len(value) <= _LONGEST and bytes(value)[:1] == b'"' else value


_decode_text = msgspec.json.Decoder(str).decode
_decode = msgspec.json.Decoder(_Head).decode
_OF_GROUPS = (
    *("user_add_to_group", "user_update_for_group", "user_remove_from_group"),
    *("user_access_request_to_group", "user_access_request_denied_for_group"),
    *("subgroup_create", "subgroup_destroy", "project_create", "project_destroy"),
)
_KINDS = {kind.value: kind for kind in Kind if kind is not Kind.GROUP} | dict.fromkeys(_OF_GROUPS, Kind.GROUP)
_BY_HEADER = {
    "Push Hook": Kind.PUSH,
    "Tag Push Hook": Kind.TAG_PUSH,
    "Merge Request Hook": Kind.MERGE_REQUEST,
    "Note Hook": Kind.NOTE,
    "Confidential Note Hook": Kind.NOTE,
    "Issue Hook": Kind.ISSUE,
    "Confidential Issue Hook": Kind.ISSUE,
    "Pipeline Hook": Kind.PIPELINE,
    "Job Hook": Kind.JOB,
    "Deployment Hook": Kind.DEPLOYMENT,
    "Release Hook": Kind.RELEASE,
}
