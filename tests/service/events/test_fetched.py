"""Rows of GitLab's REST API as the deliveries that would have told them. Shapes: https://docs.gitlab.com/api/"""

from __future__ import annotations

from datetime import UTC, datetime

from gitpulse_service.events import fetched
from gitpulse_service.events.decode import decode
from gitpulse_service.events.fetched import KINDS, Source
from gitpulse_service.events.issue import Issue
from gitpulse_service.events.pipeline import Pipeline
from gitpulse_service.events.push import Push

SINCE, UNTIL = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
PROJECT = {"id": 42, "name": "Website", "path_with_namespace": "acme/website", "web_url": "https://x", "topics": []}
MOVED = {"action": "pushed", "ref_type": "branch", "commit_from": "a" * 40, "commit_to": "b" * 40, "ref": "main"}
ANN = {"id": 7, "username": "ann", "name": "Ann", "avatar_url": None}


def made(content):
    return Source(PROJECT, "https://gitlab.example.com", "hook", UNTIL).delivery(content)


def pushed(**more):
    return fetched.push({"push_data": {**MOVED, **more}, "author_id": 7, "author": ANN})


def test_of_many_pushes_at_once_no_delivery_would_have_told():
    assert pushed(commit_from=None, commit_to=None) is None


def test_a_tag_has_a_ref_of_its_own():
    event = decode(made(pushed(ref_type="tag", ref="v1", commit_from=None)))
    assert isinstance(event, Push)
    assert event.ref == "refs/tags/v1"


def test_a_branch_that_was_made_or_deleted_has_zeros():
    new, gone = decode(made(pushed(commit_from=None))), decode(made(pushed(commit_to=None)))
    assert isinstance(new, Push)
    assert isinstance(gone, Push)
    assert (new.ref, new.before, new.after, new.who) == ("refs/heads/main", "0" * 40, "b" * 40, 7)
    assert (gone.before, gone.after) == ("a" * 40, "0" * 40)
    assert decode(made(pushed(commit_from=None, commit_to="b" * 64))).before == "0" * 64


def test_the_same_row_is_the_same_delivery_and_another_one_is_not():
    assert made(pushed()) == made(pushed())
    assert made(pushed()).delivery_id != made(pushed(ref="other")).delivery_id


def test_commits_are_no_push():
    rows = [
        {"id": sha * 40, "author_name": "Bob", "author_email": "bob@x", "committed_date": "2026-01-11T10:00:00+02:00"}
        for sha in "cd"
    ]
    event = decode(made(fetched.commits(rows)))
    assert isinstance(event, Push)
    assert event.is_sample
    assert [commit.id[0] for commit in event.commits] == ["c", "d"]
    assert (event.commits[0].author_email, event.commits[0].timestamp.utcoffset().total_seconds()) == ("bob@x", 7200)


def test_a_listed_pipeline_is_as_old_as_its_last_change():
    row = {"id": 1, "status": "success", "created_at": "2026-01-11T10:00:00Z", "updated_at": "2026-01-11T10:09:00Z"}
    event = decode(made(fetched.pipeline(row)))
    assert isinstance(event, Pipeline)
    assert event.updated_at == datetime(2026, 1, 11, 10, 9, tzinfo=UTC)


def test_an_issue_knows_its_author_and_type():
    event = decode(made(fetched.issue({"id": 1, "iid": 1, "author": ANN, "issue_type": "test_case", "labels": ["b"]})))
    assert isinstance(event, Issue)
    assert (event.object_attributes.author_id, event.type, event.label_titles) == (7, "Test Case", ["b"])
    assert [user.username for user in event.users] == ["ann"]


def test_what_a_list_is_asked_for_begins_before_the_gap():
    assert KINDS["pushes"].asked(SINCE)["after"] == "2026-01-09"
    assert KINDS["commits"].asked(SINCE)["since"] == "2026-01-03T00:00:00Z"
    assert KINDS["issues"].asked(SINCE)["updated_after"] == "2026-01-09T23:55:00Z"
    assert "since" not in KINDS["branches"].asked(SINCE)
