"""One look at a delivery tells whether it is kept."""

import json

import pytest

from gitpulse_service.events.classify import Ignored, Kind, Malformed, classify


@pytest.mark.parametrize(
    ("event", "body", "kind"),
    [
        ("Push Hook", {"object_kind": "push"}, Kind.PUSH),
        ("System Hook", {"object_kind": "push"}, Kind.PUSH),
        ("", {"object_kind": "merge_request"}, Kind.MERGE_REQUEST),
        ("Push Hook", {"object_kind": "pipeline"}, Kind.PIPELINE),
        ("Job Hook", {"object_kind": "build"}, Kind.JOB),
        ("Confidential Note Hook", {"object_kind": "note"}, Kind.NOTE),
        ("Push Hook", {"project": {"id": 1}, "commits": []}, Kind.PUSH),
        ("Confidential Issue Hook", {"project_id": 1}, Kind.ISSUE),
        ("Emoji Hook", {"object_kind": "emoji"}, Ignored.UNWANTED),
        ("Member Hook", {"event_name": "user_add_to_group"}, Kind.GROUP),
        ("Emoji Hook", {"project_id": 1}, Ignored.TEMPLATE),
        ("Push Hook", {"text": "somebody pushed"}, Ignored.TEMPLATE),
        ("Push Hook", {"object_kind": ["push"]}, Ignored.TEMPLATE),
        ("Push Hook", [], Malformed.NOT_AN_OBJECT),
        ("Push Hook", None, Malformed.NOT_AN_OBJECT),
    ],
)
def test_the_body_decides_and_the_header_helps(event, body, kind):
    assert classify(event, json.dumps(body).encode()) is kind


@pytest.mark.parametrize("body", [b"", b"{", b'{"object_kind":"push"} x', b"a=b", b'{"x":' + b"[" * 10**6, b"\xff"])
def test_what_is_not_json(body):
    assert classify("Push Hook", body) is Malformed.NOT_JSON


def test_values_that_nobody_asks_for_are_not_judged():
    assert classify("", b'{"x":1e999999,"y":' + b"9" * 10**5 + b',"object_kind":"issue"}') is Kind.ISSUE
