"""Tests and resends: section 9 lines 3 and 4."""

from __future__ import annotations

import re
from datetime import timedelta

import gitlab
import pytest

from gitpulse_sim import ci, discussions

LIMITED = {"message": {"error": "This endpoint has been requested too many times. Try again later."}}


def test_a_test_is_forced_and_revives(simulator, hook, target):
    """9.3: forced even when disabled, counters updated, 201."""
    kept = simulator.website.hooks[hook.id]
    simulator.world.instance.auto_disabling, kept.recent_failures = True, 40
    simulator.push()
    assert target.take() == []
    hook.test("push_events")
    assert target.one().event == "Push Hook"
    assert (kept.recent_failures, hook.manager.get(hook.id).alert_status) == (0, "executable")


def test_a_failed_test_of_a_disabled_hook_counts_nothing(api, simulator, hook, target):
    """9.3: 422 with the receiver's words; failure while not executable changes nothing (1.7)."""
    kept = simulator.website.hooks[hook.id]
    simulator.world.instance.auto_disabling, kept.recent_failures = True, 5
    kept.disabled_until = until = simulator.world.clock.now() + timedelta(minutes=2)
    target.status, target.answer = 503, b"come back later"
    reply = api("POST", f"/projects/1/hooks/{hook.id}/test/push_events")
    assert (reply.status_code, reply.json()) == (422, {"message": "come back later"})
    assert (kept.recent_failures, kept.disabled_until) == (5, until)
    target.status = 302
    with pytest.raises(gitlab.exceptions.GitlabHookTestError):  # success is 2xx alone
        hook.test("push_events")


def test_a_test_shows_the_newest_three_commits(simulator, hook, target):
    """9.3: real recent data; `before` is among its own commits, and nothing marks it as a test."""
    simulator.push(commits=5)
    real = target.one().json
    hook.test("push_events")
    sample = target.one().json
    shown = [commit["id"] for commit in sample["commits"]]
    assert shown == [commit["id"] for commit in real["commits"]][:-4:-1]
    assert (sample["before"], sample["after"]) == (shown[-1], shown[0])
    assert sample["total_commits_count"] == 3


def test_an_empty_project_shows_somebody_elses_commit(hook, target):
    """9.3: fixed sample data (3.5)."""
    hook.test("push_events")
    assert target.one().json["project_id"] == 15


ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_tests_carry_iso_milliseconds(simulator, hook, target):
    """9.3: ISO-millisecond timestamps, for each family that has something to show."""
    forge, project, bob = simulator.forge, simulator.website, simulator.world.user("bob")
    now = simulator.world.clock.now()
    simulator.push()
    simulator.push(branch="f")
    request = simulator.run(discussions.open_merge_request(forge, project, bob, "f", title="F", at=now))
    simulator.run(discussions.open_issue(forge, project, bob, title="I", at=now))
    simulator.run(discussions.comment(forge, project, bob, request, "well", at=now))
    simulator.run(ci.start_pipeline(forge, project, bob, "f", commit=request.last_commit, at=now))
    simulator.settle()
    target.take()
    simulator.world.instance.manual_calls_per_minute = 50
    for trigger in ("merge_requests_events", "issues_events", "note_events", "pipeline_events"):
        hook.test(trigger)
        attributes = target.one().json["object_attributes"]
        assert ISO.fullmatch(attributes["created_at"]), trigger
    hook.test("job_events")
    assert ISO.fullmatch(target.one().json["build_created_at"])


@pytest.mark.parametrize(
    ("trigger", "status", "body"),
    [
        ("nonsense", 400, {"error": "trigger does not have a valid value"}),
        ("note_events", 422, {"message": "Ensure the project has notes."}),
        ("merge_requests_events", 422, {"message": "Ensure the project has merge requests."}),
        ("pipeline_events", 422, {"message": "Ensure the project has CI pipelines."}),
    ],
)
def test_what_cannot_be_tested(api, hook, trigger, status, body):
    """9.3: 422 where the data is missing, 400 for a trigger that is none."""
    reply = api("POST", f"/projects/1/hooks/{hook.id}/test/{trigger}")
    assert (reply.status_code, reply.json()) == (status, body)


def test_a_group_hook_is_tested_with_a_direct_child(api, simulator, group_hook, target):
    """9.3: for groups, with the data of a project of theirs, 422 without one."""
    simulator.push()
    target.take()
    group_hook.test("push_events")
    assert target.one().json["project"]["path_with_namespace"] == "acme/website"
    simulator.world.projects.clear()
    assert api("POST", f"/groups/1/hooks/{group_hook.id}/test/push_events").status_code == 422


@pytest.mark.parametrize("retry_after", [None, 30])
def test_five_tests_a_minute(api, simulator, website, hook, target, retry_after):
    """9.3: 5/min for each parent and user, whichever the hook; Retry-After is a switch [unverified]."""
    simulator.world.clock.stop_at(simulator.world.clock.now())
    simulator.world.instance.manual_limit_retry_after = retry_after
    other = website.hooks.create({"url": target.url})
    for _ in range(5):
        hook.test("push_events")
    reply = api("POST", f"/projects/1/hooks/{other.id}/test/push_events")
    assert (reply.status_code, reply.json()) == (429, LIMITED)
    assert reply.headers.get("retry-after") == (str(retry_after) if retry_after else None)
    simulator.world.clock.advance(61)
    other.test("push_events")


def _newest_row(api, hook) -> int:
    return api("GET", f"/projects/1/hooks/{hook.id}/events").json()[0]["id"]


def test_a_resend_has_the_same_id_and_no_addresses(api, simulator, hook, target):
    """9.4: same id, new timestamp, present secrets, redacted data."""
    simulator.push()
    first = target.one()
    simulator.website.hooks[hook.id].token = "rotated"
    simulator.world.instance.signature_clock_skew = 10
    reply = api("POST", f"/projects/1/hooks/{hook.id}/events/{_newest_row(api, hook)}/resend")
    assert (reply.status_code, reply.json()) == (201, {"response_status": 200})
    again = target.one()
    assert again.headers["webhook-id"] == first.headers["webhook-id"]
    assert int(again.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert again.headers["X-Gitlab-Token"] == "rotated"
    assert again.json["commits"][0]["author"]["email"] == "[REDACTED]"
    assert again.json["after"] == first.json["after"]


def test_what_cannot_be_resent(api, simulator, hook, target):
    """9.4: 422 when disabled or when the URL changed; 404 for an unknown row, and before 17.4."""
    simulator.push()
    path = f"/projects/1/hooks/{hook.id}/events/{_newest_row(api, hook)}/resend"
    kept = simulator.website.hooks[hook.id]
    simulator.world.instance.auto_disabling, kept.recent_failures = True, 40
    assert (api("POST", path).status_code, api("POST", path).json()) == (422, {"message": "Hook disabled"})
    kept.recent_failures = 0
    kept.url += "/changed"
    assert api("POST", path).status_code == 422
    assert api("POST", f"/projects/1/hooks/{hook.id}/events/999/resend").status_code == 404
    simulator.world.instance.version = "17.3.0"
    assert api("POST", path).status_code == 404


def test_five_resends_a_minute(api, simulator, hook, target):
    """9.4: 5/min, counted apart from tests."""
    simulator.world.clock.stop_at(simulator.world.clock.now())
    simulator.push()
    path = f"/projects/1/hooks/{hook.id}/events/{_newest_row(api, hook)}/resend"
    assert [api("POST", path).status_code for _ in range(6)] == [201] * 5 + [429]
    hook.test("push_events")
