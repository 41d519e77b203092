"""Conditions and patches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from gitpulse_operator.domain.conditions import Condition, failure, find, to_status
from gitpulse_operator.domain.patch import merge_patch, merged
from gitpulse_operator.domain.versions import parse_version

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def test_a_condition_keeps_its_time_until_its_status_flips():
    first = to_status([Condition("Ready", "False", "A", "a")], before=[], generation=1, now=NOW)
    second = to_status([Condition("Ready", "False", "B", "b")], before=first, generation=2, now=LATER)
    third = to_status([Condition("Ready", "True", "C", "c")], before=second, generation=2, now=LATER)
    assert [entry[0]["lastTransitionTime"] for entry in (first, second, third)] == [
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:00:00Z",
        "2026-11-23T13:00:00Z",
    ]
    assert second[0]["observedGeneration"] == 2
    assert find(second, "Ready") == Condition("Ready", "False", "B", "b")
    assert find(second, "Stalled") is None


def test_a_failure_either_passes_or_waits_for_a_person():
    assert [c.type for c in failure(reason="R", message="m", passing=True)] == ["Ready", "Reconciling"]
    assert [c.type for c in failure(reason="R", message="m", passing=False)] == ["Ready", "Stalled"]


def test_a_message_fits():
    (entry,) = to_status([Condition("Ready", "False", "A", "x" * 9999)], before=[], generation=1, now=NOW)
    assert len(entry["message"]) == 4096


values = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
objects = st.recursive(
    st.dictionaries(st.sampled_from("abc"), values.filter(lambda value: value is not None), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.integers(0, 3), max_size=3),
    max_leaves=8,
)


@given(objects, objects)
def test_a_patch_makes_one_status_the_other(before, after):
    assert merged(before, merge_patch(before, after)) == after
    assert merge_patch(after, after) == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [("19.1.2-ee", (19, 1)), ("18.11.0-pre", (18, 11)), ("17.3", (17, 3)), ("unknown", (0, 0)), ("", (0, 0))],
)
def test_versions(text, version):
    assert parse_version(text) == version
