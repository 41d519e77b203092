"""Rows of GitLab's REST API as the deliveries that would have told them. Shapes: https://docs.gitlab.com/api/"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitpulse_service.events.decode import decode
from gitpulse_service.events.fetched import KINDS, delivery
from gitpulse_service.events.pipeline import Pipeline
from gitpulse_service.events.push import Push

GAP = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
PROJECT = {"id": 42, "name": "Website", "path_with_namespace": "acme/website", "web_url": "https://x", "topics": []}
MOVED = {"action": "pushed", "ref_type": "branch", "commit_from": "a" * 40, "commit_to": "b" * 40, "ref": "main"}


def made(name, row):
    return delivery(KINDS[name], row, PROJECT, "hook", "https://gitlab.example.com", GAP)


def pushed(at="2026-01-11T10:00:00.500Z", **more):
    return made("pushes", {"created_at": at, "push_data": {**MOVED, **more}})


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"ref_type": "tag"}, id="a tag"),
        pytest.param({"commit_from": None, "commit_to": None}, id="more at once than hooks are told of"),
        pytest.param({"at": "2026-01-09T23:59:59Z"}, id="before the gap"),
    ],
)
def test_no_delivery_would_have_told_of(row):
    assert pushed(**row) is None


def test_a_branch_that_was_made_or_deleted_has_zeros():
    new, gone = decode(pushed(commit_from=None)), decode(pushed(commit_to=None))
    assert isinstance(new, Push)
    assert isinstance(gone, Push)
    assert (new.ref, new.before, new.after) == ("refs/heads/main", "0" * 40, "b" * 40)
    assert (gone.before, gone.after) == ("a" * 40, "0" * 40)


def test_the_same_row_is_the_same_delivery_and_another_one_is_not():
    assert pushed() == pushed()
    assert pushed().delivery_id != pushed(ref="other").delivery_id


def test_a_commit_is_no_push():
    row = {"id": "c" * 40, "author_name": "Bob", "author_email": "bob@x", "committed_date": "2026-01-11T10:00:00+02:00"}
    event = decode(made("commits", row))
    assert isinstance(event, Push)
    assert event.is_sample
    assert (event.commits[0].author_email, event.commits[0].timestamp.utcoffset().total_seconds()) == ("bob@x", 7200)


def test_a_pipeline_is_as_old_as_its_last_change():
    row = {"id": 1, "status": "success", "created_at": "2026-01-11T10:00:00Z", "updated_at": "2026-01-11T10:09:00Z"}
    event = decode(made("pipelines", row))
    assert isinstance(event, Pipeline)
    assert event.updated_at == datetime(2026, 1, 11, 10, 9, tzinfo=UTC)


def test_what_a_list_is_asked_for_begins_before_the_gap():
    assert KINDS["pushes"].asked(GAP[0])["after"] == "2026-01-09"
    assert KINDS["commits"].asked(GAP[0])["since"] == "2026-01-03T00:00:00Z"
    assert KINDS["issues"].asked(GAP[0])["updated_after"] == "2026-01-09T23:55:00Z"
    assert KINDS["issues"].asked(GAP[0])["issue_type"] == "issue"
