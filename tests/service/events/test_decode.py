"""From recorded bodies to typed events, and what is said about bodies that are not GitLab's."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, strategies as st

from gitpulse_service.errors import Undecodable
from gitpulse_service.events.decode import decode
from gitpulse_service.events.deployment import Deployment
from gitpulse_service.events.group import GroupChange
from gitpulse_service.events.issue import Issue
from gitpulse_service.events.merge_request import MergeRequest
from gitpulse_service.events.note import Note
from gitpulse_service.events.pipeline import Job, Pipeline
from gitpulse_service.events.privacy import without_secrets
from gitpulse_service.events.push import Push
from gitpulse_service.events.release import Release
from harness.samples import FOLDER, body, envelope

ALL = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.json"))
KINDS = {
    "push": Push,
    "tag_push": Push,
    "merge_request": MergeRequest,
    "note": Note,
    "issue": Issue,
    "work_item": Issue,
    "pipeline": Pipeline,
    "build": Job,
    "deployment": Deployment,
    "release": Release,
    "group": GroupChange,
}


def of(name):
    return decode(envelope(body(name)))


def at(*args):
    return datetime(*args, tzinfo=UTC)


@pytest.mark.parametrize("name", ALL)
def test_every_sample_decodes_to_its_kind_or_to_nothing(name):
    event = of(name)
    kind = KINDS[name.split("/", maxsplit=1)[0]]
    if name.endswith("empty_project"):
        assert event is None
    else:
        assert isinstance(event, kind)
        assert event.gitlab_project_id == (None if kind is GroupChange or "epic" in name else 42)


def test_a_commit_keeps_its_authors_own_offset():
    first, second = of("push/two_commits").commits
    assert first.timestamp == at(2026, 1, 31, 17, 45, 47)
    assert first.timestamp.utcoffset() == timedelta(hours=1)
    assert second.timestamp.utcoffset() == timedelta(hours=-5)
    assert (first.author_name, first.author_email) == ("Zoë Ångström", "zoe@acme.example")


def test_a_redacted_author_is_unknown():
    first, _ = of("push/resent").commits
    assert (first.author_name, first.author_email) == ("Zoë Ångström", None)


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("push/test_delivery", True),
        ("push/two_commits", False),
        ("push/force_push", False),
        ("push/branch_created", False),
        ("push/branch_deleted", False),
        ("push/minimal", False),
    ],
)
def test_a_test_delivery_is_told_by_its_before(name, sample):
    assert of(name).is_sample is sample


@pytest.mark.parametrize(
    ("name", "merged_at", "closed_at"),
    [
        ("open", None, None),
        ("approved", None, None),
        ("close", None, at(2026, 1, 31, 18, 1, 20)),
        ("reopen", None, None),
        ("merge", at(2026, 1, 31, 18, 3, 54), None),
        ("merge_gitlab_19", at(2026, 1, 31, 18, 3, 54), None),
        ("label_after_merge", None, None),
        ("test_delivery", None, None),
    ],
)
def test_what_a_merge_request_event_knows_of_its_end(name, merged_at, closed_at):
    event = of(f"merge_request/{name}")
    assert (event.merged_at, event.closed_at) == (merged_at, closed_at)


def test_the_time_of_an_action_is_closer_than_that_of_the_update():
    content = body("merge_request/merge")
    content["object_attributes"]["actioned_at"] = "2026-01-31 19:03:56 +0100"
    assert decode(envelope(content)).merged_at == at(2026, 1, 31, 18, 3, 56)


def test_an_issue_says_when_it_was_closed_or_its_update_does():
    assert of("issue/close").closed_at == at(2026, 1, 31, 10)
    assert of("issue/close_without_closed_at").closed_at == at(2026, 1, 31, 12)
    assert of("issue/reopen").closed_at is None


def test_a_retried_pipeline_is_newer_than_its_first_end():
    assert of("pipeline/failed").updated_at < of("pipeline/retried").updated_at < of("pipeline/success").updated_at


def test_a_pipelines_variables_are_not_kept():
    raw = envelope(body("pipeline/with_variables"))
    kept = without_secrets(raw.body)
    assert b"glpat" not in kept
    assert decode(envelope(kept)) == decode(envelope({**body("pipeline/pending")}))


NAME = b'"object_attributes"'


@pytest.mark.parametrize(
    "odd",
    [b'"n":1e999,' + NAME, b'"n":' + b"9" * 5000 + b"," + NAME, b'"text":"\xff",' + NAME],
)
def test_what_is_odd_beside_a_pipelines_variables_stays_as_it_was_sent(odd):
    raw = msgspec.json.encode(body("pipeline/with_variables")).replace(NAME, odd)
    assert type(decode(envelope(raw))) is Pipeline
    kept = without_secrets(raw)
    assert odd.removesuffix(NAME) in kept
    assert b"glpat" not in kept


@pytest.mark.parametrize(
    ("odd", "kept"), [(b'"\xff":1,' + NAME, b"{}"), (b'"object\\u0000_attributes"', b'"object_attributes":{')]
)
def test_a_body_with_variables_and_names_that_are_no_text_is_counted_and_keeps_none(odd, kept):
    raw = msgspec.json.encode(body("pipeline/with_variables")).replace(NAME, odd)
    assert type(decode(envelope(raw))) is Pipeline
    assert kept in without_secrets(raw)
    assert b"glpat" not in without_secrets(raw)


@pytest.mark.parametrize(
    ("content", "event", "kind"),
    [
        ({"project_id": 1}, "Push Hook", Push),
        ({"event_name": "push", "project_id": 1}, "System Hook", Push),
        ({"object_kind": "push", "project_id": 1}, "Pipeline Hook", Push),
        ({"project": {"id": 1}, "object_attributes": {"id": 1}}, "Confidential Issue Hook", Issue),
        ({"object_kind": "tag_push", "project_id": 1}, "Tag Push Hook", Push),
        ({"project_id": 1}, "Tag Push Hook", Push),
        ({"object_kind": "emoji", "project_id": 1}, "Emoji Hook", type(None)),
        ({"hello": "template"}, "Push Hook", type(None)),
    ],
)
def test_the_body_decides_and_the_header_helps(content, event, kind):
    assert type(decode(envelope(content, event=event))) is kind


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[1]", "not_an_object"),
        (b'{"object_kind":"push","commits":' + b"[" * 3000, "not_json"),
        ({"object_kind": "push"}, "push: Object missing required field `id` - at `$.project`"),
        ({"object_kind": "push", "project_id": "1"}, "push: Expected `int | null`, got `str` - at `$.project_id`"),
        ({"object_kind": "push", "project_id": 0}, "push: Expected `int` >= 1 - at `$.project_id`"),
        (
            {"object_kind": "push", "project_id": 1, "commits": [{}]},
            "push: Object missing required field `id` - at `$.commits[0]`",
        ),
        ({"object_kind": "push", "project_id": 1, "commits": [{"id": ""}]}, "at `$.commits[0].id`"),
        (
            {"object_kind": "push", "project_id": 1, "commits": [{"id": "a" * 40, "timestamp": "soon"}]},
            "at `$.commits[0].timestamp`",
        ),
        ({"object_kind": "issue", "object_attributes": {"id": 2**63}}, "at `$.object_attributes.id`"),
        ({"object_kind": "pipeline", "project": {"id": 1}}, "missing required field `object_attributes`"),
        ({"object_kind": "merge_request", "project": "acme", "object_attributes": {"id": 1}}, "at `$.project`"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_its_field(content, says):
    with pytest.raises(Undecodable) as caught:
        decode(envelope(content, event="Push Hook"))
    assert says in str(caught.value)


def test_a_nul_in_a_text_is_dropped_and_a_text_about_nul_is_not():
    content = body("push/two_commits")
    content["commits"][0]["author"]["name"] = "Zo\0ë"
    content["commits"][1]["author"]["name"] = "\\u0000"
    first, second = decode(envelope(content)).commits
    assert (first.author_name, second.author_name) == ("Zoë", "\\u0000")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(ALL),
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 40)), max_size=4),
    json_values,
)
def test_whatever_is_changed_in_a_body_it_decodes_or_is_refused(name, path, value):
    content = body(name)
    target = content
    for depth, pick in path:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        if not keys:
            break
        key = keys[pick % len(keys)]
        if depth == 0 or not isinstance(target[key], dict | list):
            target[key] = value
            break
        target = target[key]
    with contextlib.suppress(Undecodable):
        decode(envelope(content))
