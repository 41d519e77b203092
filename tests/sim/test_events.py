"""What deliveries carry: section 9 lines 5 and 6, and the payloads of section 2, held against real git."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gitpulse_sim import ci, discussions, groups, releases
from gitpulse_sim.people import Role
from gitpulse_sim.repository import ZEROS, Draft, Person

EVERY = ["push", "tag_push", "issues", "confidential_issues", "merge_requests", "note", "confidential_note", "job",
         "pipeline", "deployment", "releases"]  # fmt: skip


@pytest.fixture
def listening(website, target):
    """A hook of acme/website that wants everything."""
    return website.hooks.create({"url": target.url, **{f"{name}_events": True for name in EVERY}})


@pytest.fixture
def act(simulator, target):
    """Runs one action as bob on acme/website, and returns what was delivered, in the order of arrival."""

    def run(action, *arguments, user="bob", **more):
        more.setdefault("at", simulator.world.clock.now())
        made = simulator.run(action(simulator.forge, simulator.website, simulator.world.user(user), *arguments, **more))
        simulator.settle()
        return made, target.take()

    return run


def test_a_push_is_what_git_says(simulator, hook, target):
    """2.3: ids, order, paths, author and offset come from git itself."""
    at = datetime(2026, 1, 31, 18, 45, 47, tzinfo=timezone(timedelta(hours=1)))
    simulator.push([{"a": "1", "b": "1", "c": "1"}], at=at)
    first = target.one().json
    change = simulator.push([{"a": "2"}, {"b": None, "ä b.txt": "x"}], at=at)
    payload = target.one().json
    git = simulator.website.repository.git
    listed = git("log", "--reverse", "--format=%H", f"{change.before}..{change.after}").split()
    assert (first["before"], first["after"]) == (ZEROS, change.before)
    assert first["commits"][0]["added"] == ["a", "b", "c"]
    assert [commit["id"] for commit in payload["commits"]] == listed
    assert (payload["before"], payload["after"], payload["checkout_sha"]) == (change.before, listed[-1], listed[-1])
    paths = [(commit["added"], commit["modified"], commit["removed"]) for commit in payload["commits"]]
    assert paths == [([], ["a"], []), (["ä b.txt"], [], ["b"])]
    assert payload["commits"][0]["timestamp"] == "2026-01-31T18:45:47+01:00"
    assert payload["commits"][0]["author"] == {"name": "Bob Brandt", "email": "bob@acme.example"}
    assert (payload["ref"], payload["total_commits_count"], payload["object_kind"]) == ("refs/heads/main", 2, "push")
    assert (payload["user_username"], payload["user_email"], payload["project_id"]) == ("bob", "", 1)


def test_a_long_push_shows_its_newest_twenty(simulator, hook, target):
    """2.3: commits are the newest 20, oldest first; the count is true."""
    simulator.push()
    simulator.push(commits=25)
    payload = target.take()[1].json
    newest = simulator.website.repository.git("log", "-20", "--topo-order", "--format=%H", "main").split()
    assert [commit["id"] for commit in payload["commits"]] == newest[::-1]
    assert payload["total_commits_count"] == 25


def test_branches_are_created_and_deleted(simulator, hook, target):
    """2.3: zeros at either end; a new branch without new commits has none."""
    main = simulator.push().after
    target.take()
    simulator.run(simulator.forge.push(simulator.website, simulator.world.user("bob"), "empty", []))
    simulator.settle()
    made = target.one().json
    assert (made["before"], made["after"], made["commits"], made["total_commits_count"]) == (ZEROS, main, [], 0)
    simulator.run(simulator.forge.delete(simulator.website, simulator.world.user("bob"), "refs/heads/empty"))
    simulator.settle()
    gone = target.one().json
    assert (gone["before"], gone["after"], gone["checkout_sha"], gone["commits"]) == (main, ZEROS, None, [])


def test_a_force_push(simulator, hook, target):
    """2.3: before is the tip that is given up; commits are those that are new."""
    base = simulator.push().after
    lost = simulator.push().after
    target.take()
    draft = Draft(message="again", author=Person("B", "b@x.y"), at=simulator.world.clock.now(), files={"z": "z"})
    change = simulator.run(
        simulator.forge.push(simulator.website, simulator.world.user("bob"), "main", [draft], onto=base)
    )
    simulator.settle()
    payload = target.one().json
    assert (payload["before"], payload["after"]) == (lost, change.after)
    assert [commit["message"] for commit in payload["commits"]] == ["again"]
    assert simulator.website.repository.count("--all") == 2


@pytest.mark.parametrize("message", ["", "Release one"])
def test_tags(simulator, website, target, message):
    """2.3: of an annotated tag `after` is the tag, and the commit is in checkout_sha."""
    website.hooks.create({"url": target.url, "push_events": False, "tag_push_events": True})
    tip = simulator.push().after
    bob, now = simulator.world.user("bob"), simulator.world.clock.now()
    simulator.run(simulator.forge.tag(simulator.website, bob, "v1", at=now, message=message))
    simulator.run(simulator.forge.delete(simulator.website, bob, "refs/tags/v1"))
    simulator.settle()
    made, gone = sorted((got.json for got in target.take()), key=lambda payload: payload["after"] == ZEROS)
    assert (made["object_kind"], made["ref"], made["before"]) == ("tag_push", "refs/tags/v1", ZEROS)
    assert (made["checkout_sha"], made["message"]) == (tip, message or None)
    assert (made["after"] == tip) is (not message)
    assert (gone["before"], gone["after"], gone["checkout_sha"]) == (made["after"], ZEROS, None)


def test_project_and_group_hook_both_fire(simulator, hook, group_hook, target):
    """9.5: the same event through a project hook and a group hook, with different ids; not for another group."""
    simulator.push()
    one, two = target.take()
    assert {one.path, two.path} == {"/hook", "/hook/group"}
    assert one.body == two.body
    assert one.headers["webhook-id"] != two.headers["webhook-id"]


def test_a_group_hook_hears_of_subgroups(simulator, group_hook, target):
    """9.5: group hooks fire for all projects below; on Free they do not fire."""
    world = simulator.world
    below = world.add_group("deep", parent=world.groups[1])
    world.add_project("inner", below)
    simulator.push(project="acme/deep/inner")
    assert target.one().json["project"]["path_with_namespace"] == "acme/deep/inner"
    world.instance.tier = "free"
    simulator.push(project="acme/deep/inner")
    assert target.take() == []


@pytest.mark.parametrize(
    ("zone", "stamp"),
    [("UTC", "2026-01-31 18:03:54 UTC"), ("Europe/Berlin", "2026-01-31 19:03:54 +0100")],
)
def test_timestamps_follow_the_instances_zone(simulator, listening, act, zone, stamp):
    """9.6: timestamps in `UTC` and `+0100` (2.10); the ISO mode is that of tests."""
    simulator.world.instance.time_zone = zone
    _, (got,) = act(discussions.open_issue, title="I", at=datetime(2026, 1, 31, 18, 3, 54, tzinfo=UTC))
    attributes = got.json["object_attributes"]
    assert (attributes["created_at"], attributes["closed_at"]) == (stamp, None)


def test_a_merge_requests_life(simulator, listening, act, target):
    """2.4: open, code pushed, approved, merge, with the pushes that belong to it."""
    simulator.push()
    simulator.push(branch="f")
    target.take()
    carol = simulator.world.user("chiara")
    request, (opened,) = act(discussions.open_merge_request, "f", title="F", reviewers=[carol])
    payload = opened.json
    assert opened.event == "Merge Request Hook"
    assert (payload["object_attributes"]["action"], payload["object_attributes"]["state"]) == ("open", "opened")
    assert payload["object_attributes"]["last_commit"]["id"] == simulator.website.repository.tip("f")
    assert [user["username"] for user in payload["reviewers"]] == ["chiara"]
    assert payload["user"]["email"] == "[REDACTED]"
    before = simulator.website.repository.tip("f")
    simulator.push(branch="f")
    (updated,) = [got.json for got in target.take() if got.event == "Merge Request Hook"]
    assert (updated["object_attributes"]["action"], updated["object_attributes"]["oldrev"]) == ("update", before)
    _, (approved,) = act(discussions.approve, request, user="chiara")
    assert (approved.json["object_attributes"]["action"], approved.json["changes"]) == ("approved", {})
    assert approved.json["reviewers"][0]["state"] == "approved"
    _, deliveries = act(discussions.merge, request)
    (merged,) = [got.json["object_attributes"] for got in deliveries if got.event == "Merge Request Hook"]
    pushes = [got.json for got in deliveries if got.event == "Push Hook"]
    assert (merged["action"], merged["state"], merged["merge_user_id"]) == ("merge", "merged", None)
    assert merged["merged_at"] == merged["updated_at"]
    (main,) = [push for push in pushes if push["ref"] == "refs/heads/main"]
    assert main["after"] == merged["merge_commit_sha"] == simulator.website.repository.tip("main")
    assert main["total_commits_count"] == 3
    assert [push["after"] for push in pushes if push["ref"] == "refs/heads/f"] == [ZEROS]


def test_merged_at_is_younger_than_18(simulator, listening, act):
    """2.4: absent before; `assignees` and `reviewers` are absent when empty."""
    simulator.world.instance.version = "18.5.0"
    simulator.push()
    simulator.push(branch="f")
    act(discussions.open_issue, title="x")
    request, (got,) = act(discussions.open_merge_request, "f", title="F")
    assert not {"merged_at", "actioned_at"} & got.json["object_attributes"].keys()
    assert "reviewers" not in got.json
    _, (closed,) = act(discussions.close, request)
    assert closed.json["object_attributes"]["action"] == "close"
    assert closed.json["changes"] == {"state_id": {"previous": 1, "current": 2}}


def test_issues_and_work_items(listening, act):
    """2.5: kinds, actions, closed_at; confidential ones have an event of their own."""
    issue, (opened,) = act(discussions.open_issue, title="I")
    assert (opened.event, opened.json["object_kind"]) == ("Issue Hook", "issue")
    _, (closed,) = act(discussions.close, issue)
    assert closed.json["object_attributes"]["closed_at"] == closed.json["object_attributes"]["updated_at"]
    _, (reopened,) = act(discussions.reopen, issue)
    attributes = reopened.json["object_attributes"]
    assert (attributes["action"], attributes["closed_at"]) == ("reopen", None)
    _, (task,) = act(discussions.open_issue, title="T", type_="Task")
    assert (task.event, task.json["object_kind"]) == ("Issue Hook", "work_item")
    _, (hidden,) = act(discussions.open_issue, title="S", confidential=True)
    assert (hidden.event, hidden.json["event_type"]) == ("Confidential Issue Hook", "confidential_issue")


def test_notes(simulator, listening, act, target):
    """2.6: the target stands beside the note, under its own name."""
    simulator.push()
    (commit,) = simulator.website.repository.log("main")
    target.take()
    issue, _ = act(discussions.open_issue, title="I")
    for on, key, kind in ((issue, "issue", "Issue"), (commit, "commit", "Commit")):
        _, (got,) = act(discussions.comment, on, "hello")
        assert got.event == "Note Hook"
        assert got.json["object_attributes"]["noteable_type"] == kind
        assert key in got.json
    _, (got,) = act(discussions.comment, issue, "psst", internal=True)
    assert (got.event, got.json["event_type"]) == ("Confidential Note Hook", "confidential_note")


def test_pipelines_and_jobs(simulator, listening, act, target):
    """2.7, 2.8: a pipeline's event for each status; a job's kind is `build`, and its commit's id is the pipeline's."""
    simulator.push()
    (commit,) = simulator.website.repository.log("main")
    target.take()
    start = simulator.world.clock.now()
    pipeline, pending = act(ci.start_pipeline, "main", commit=commit, at=start)
    assert sorted(got.event for got in pending) == ["Job Hook"] * 3 + ["Pipeline Hook"]
    compile_, unit, lint = pipeline.jobs

    def step(job, status, seconds):
        simulator.run(ci.step(simulator.forge, simulator.website, job, status, at=start + timedelta(seconds=seconds)))
        simulator.settle()
        got = [one.json for one in target.take()]
        said = [(one["build_name"], one["build_status"]) for one in got if one["object_kind"] == "build"]
        return sorted(said), [one["object_attributes"] for one in got if one["object_kind"] == "pipeline"], got

    jobs, (running,), _ = step(compile_, "running", 5)
    assert (jobs, running["status"], running["queued_duration"]) == ([("compile", "running")], "running", 5)
    jobs, none, _ = step(compile_, "success", 25.5)
    assert (jobs, none) == ([("compile", "success"), ("lint", "pending"), ("unit", "pending")], [])
    step(unit, "running", 30)
    step(lint, "running", 30.5)
    step(unit, "success", 60)
    _, (attributes,), deliveries = step(lint, "failed", 65.25)
    got = next(one for one in deliveries if one["object_kind"] == "pipeline")
    assert (attributes["status"], attributes["duration"], attributes["queued_duration"]) == ("failed", 55, 5)
    assert (attributes["sha"], attributes["stages"]) == (commit.sha, ["build", "test"])
    assert [build["status"] for build in got["builds"]] == ["success", "success", "failed"]
    assert (got["builds"][2]["duration"], got["builds"][2]["queued_duration"]) == (34.75, 5.0)
    assert "homepage" not in got["project"]
    (job,) = [one for one in deliveries if one["object_kind"] == "build"]
    assert (job["commit"]["id"], job["retries_count"], job["build_failure_reason"]) == (
        pipeline.id,
        0,
        "script_failure",
    )
    retried = simulator.run(
        ci.retry(
            simulator.forge, simulator.website, simulator.world.user("bob"), lint, at=start + timedelta(seconds=99)
        )
    )
    simulator.settle()
    again = [one.json for one in target.take()]
    (job,) = [one for one in again if one["object_kind"] == "build"]
    assert (job["build_id"], job["retries_count"], job["build_status"]) == (retried.id, 1, "pending")
    (got,) = [one for one in again if one["object_kind"] == "pipeline"]
    assert got["object_attributes"]["status"] == "running"
    assert got["object_attributes"]["finished_at"] == attributes["finished_at"]  # of its first end
    assert [build["id"] for build in got["builds"]] == [compile_.id, unit.id, retried.id]
    step(retried, "running", 100)
    _, (ended,), _ = step(retried, "success", 110)
    assert (ended["status"], ended["duration"]) == ("success", 60)
    assert ended["finished_at"] > attributes["finished_at"]


def test_a_failed_stage_skips_the_next(simulator, listening, act, target):
    """Skipped jobs have no end; a retry lets them wait again, and a canceled job never ran."""
    simulator.push()
    (commit,) = simulator.website.repository.log("main")
    pipeline, _ = act(ci.start_pipeline, "main", commit=commit)
    first = pipeline.jobs[0]
    act(_step, first, "running")
    act(_step, first, "failed")
    assert [job.status for job in pipeline.jobs] == ["failed", "skipped", "skipped"]
    assert [job.finished_at is None for job in pipeline.jobs] == [False, True, True]
    again, _ = act(ci.retry, first)
    act(_step, again, "running")
    act(_step, again, "success")
    assert [job.status for job in pipeline.jobs] == ["success", "pending", "pending"]
    for job in pipeline.jobs[1:]:
        act(_step, job, "canceled")
    assert (pipeline.status, pipeline.jobs[1].started_at, pipeline.jobs[1].duration) == ("canceled", None, None)
    assert pipeline.jobs[1].queued_duration is not None


async def _step(forge, project, _user, job, status, *, at):
    await ci.step(forge, project, job, status, at=at)


def test_deployments(simulator, listening, act, target):
    """2.9: start and end; of the commit eight digits; a job's deployment goes with the job, and is in its events."""
    simulator.world.instance.time_zone = "Europe/Berlin"
    simulator.push()
    (commit,) = simulator.website.repository.log("main")
    at = datetime(2026, 4, 28, 19, 50, tzinfo=UTC)
    pipeline, _ = act(ci.start_pipeline, "main", commit=commit, at=at, stages={"deploy": ["ship"]})
    act(_step, pipeline.jobs[0], "running", at=at)
    made, (started,) = act(ci.deploy, "production", commit=commit, at=at, job=pipeline.jobs[0])
    payload = started.json
    assert (started.event, payload["object_kind"], payload["status"]) == ("Deployment Hook", "deployment", "running")
    assert (payload["status_changed_at"], payload["short_sha"]) == ("2026-04-28 21:50:00 +0200", commit.sha[:8])
    assert (payload["environment"], payload["environment_tier"]) == ("production", "production")
    assert (payload["deployment_id"], payload["deployable_id"]) == (made.id, pipeline.jobs[0].id)
    assert commit.sha not in str({key: value for key, value in payload.items() if key != "commit_url"})
    _, deliveries = act(_step, pipeline.jobs[0], "success", at=at + timedelta(minutes=5))
    found = {got.event: got.json for got in deliveries}
    assert found["Deployment Hook"]["status"] == "success"
    environment = {"name": "production", "action": "start", "deployment_tier": "production"}
    assert found["Job Hook"]["environment"] == found["Pipeline Hook"]["builds"][0]["environment"] == environment
    _, (api,) = act(ci.deploy, "review/x", commit=commit, at=at)
    assert (api.json["deployable_url"], api.json["environment_slug"]) == (None, "review-x")
    assert api.json["environment_tier"] == "development"


def test_a_deployment_brings_what_was_merged(simulator, act):
    """The first one all that was merged into its branch, a later one what is new since the last success there."""
    simulator.push()
    requests = []
    for branch in ("one", "two", "three"):
        simulator.push(branch=branch)
        request, _ = act(discussions.open_merge_request, branch, title=branch)
        act(discussions.merge, request, squash=branch == "two")
        requests.append(request)
        newest = simulator.website.repository.log("main", limit=1)[0]
        made, _ = act(ci.deploy, "production", commit=newest)
        status = "failed" if branch == "two" else "success"
        simulator.run(ci.change_deployment(simulator.forge, simulator.website, made, status, at=made.created_at))
    brought = [one.merge_requests for one in simulator.website.deployments]
    assert brought == [[requests[0]], [], requests[1:]]


def test_releases(simulator, listening, act):
    """2.9: flat; created, changed and deleted; a missing tag is made."""
    simulator.push()
    release, deliveries = act(releases.create, "v1", at=datetime(2026, 1, 31, 18, tzinfo=UTC))
    assert sorted(got.event for got in deliveries) == ["Push Hook", "Release Hook", "Tag Push Hook"]
    (created,) = [got.json for got in deliveries if got.event == "Release Hook"]
    assert (created["object_kind"], created["action"], created["tag"]) == ("release", "create", "v1")
    assert created["released_at"] == created["created_at"] == "2026-01-31 18:00:00 UTC"
    assert created["commit"]["id"] == simulator.website.repository.tip("main")
    simulator.run(releases.tell(simulator.forge, simulator.website, release, "update"))
    _, deliveries = act(_delete_release, release)
    assert sorted(got.json["action"] for got in deliveries) == ["delete", "update"]
    assert simulator.website.releases == []


async def _delete_release(forge, project, _user, release, *, at):
    await releases.delete(forge, project, release)


def test_what_only_groups_hear(simulator, acme, target):
    """2.1: members, subgroups and projects carry `event_name` and no `object_kind`."""
    acme.hooks.create({
        "url": target.url, "push_events": False, "member_events": True, "subgroup_events": True, "project_events": True,
    })  # fmt: skip
    forge, group = simulator.forge, simulator.world.groups[1]
    new, gus = simulator.run(groups.add_project(forge, group, "new")), simulator.world.add_user("gus", "Gus", "g@x.y")
    sub = simulator.run(groups.add_subgroup(forge, group, "sub"))
    for role in (Role.DEVELOPER, Role.MAINTAINER, Role.NONE):
        simulator.run(groups.add_member(forge, group, gus, role))
    simulator.run(groups.remove_project(forge, new))
    assert simulator.world.find_group("acme/sub")
    simulator.run(groups.remove_subgroup(forge, sub))
    simulator.settle()
    deliveries = target.take()
    assert all("object_kind" not in got.json for got in deliveries)
    found = {(got.event, got.json["event_name"]) for got in deliveries}
    assert found == {
        ("Project Hook", "project_create"),
        ("Project Hook", "project_destroy"),
        ("Subgroup Hook", "subgroup_create"),
        ("Subgroup Hook", "subgroup_destroy"),
        ("Member Hook", "user_add_to_group"),
        ("Member Hook", "user_update_for_group"),
        ("Member Hook", "user_remove_from_group"),
    }
    assert all("T" in got.json["updated_at"] for got in deliveries)
    assert gus.id not in group.members
    assert not simulator.world.find_group("acme/sub")
    assert not simulator.world.find_project("acme/new")
