"""What a REST backfill reads: commits, merge requests, issues, pipelines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import gitlab
import pytest

from gitpulse_sim import ci, discussions, releases
from gitpulse_sim.repository import Draft, Person


@pytest.fixture
def worked(simulator):
    """One merge request merged, one open; an issue closed, one open; a pipeline; an hour between the two."""
    forge, project, bob = simulator.forge, simulator.website, simulator.world.user("bob")
    early = simulator.world.clock.now() - timedelta(hours=1)
    simulator.push(at=early)
    for number, branch in enumerate(("one", "two")):
        at = early + timedelta(hours=number)
        simulator.push(branch=branch, commits=2, at=at)
        request = simulator.run(discussions.open_merge_request(forge, project, bob, branch, title=branch, at=at))
        issue = simulator.run(discussions.open_issue(forge, project, bob, title=branch, at=at))
        simulator.run(discussions.comment(forge, project, bob, request, "hm", at=at))
        if branch == "one":
            simulator.run(discussions.merge(forge, project, bob, request, at=at))
            simulator.run(discussions.close(forge, project, bob, issue, at=at))
    simulator.run(ci.start_pipeline(forge, project, bob, "main", commit=request.last_commit, at=early))
    return early


def test_commits(simulator, website, worked):
    git = simulator.website.repository.git
    assert [one.id for one in website.commits.list(get_all=True)] == git("log", "--format=%H", "main").split()
    assert len(website.commits.list(all=True, get_all=True)) == simulator.website.repository.count("--all") == 6
    assert len(website.commits.list(ref_name="two", get_all=True)) == 6
    with pytest.raises(gitlab.GitlabListError):
        website.commits.list(ref_name="nowhere", get_all=True)
    one = website.commits.get("two")
    assert (one.author_email, len(one.parent_ids)) == ("bob@acme.example", 1)
    with pytest.raises(gitlab.GitlabGetError):
        website.commits.get("nowhere")


def test_merge_requests(website, worked):
    merged, opened = website.mergerequests.get(1), website.mergerequests.get(2)
    assert (merged.state, opened.state, opened.merged_at) == ("merged", "opened", None)
    assert merged.merge_user["username"] == "bob"
    assert merged.user_notes_count == 1
    since = (worked + timedelta(minutes=30)).isoformat()
    assert [one.iid for one in website.mergerequests.list(updated_after=since, get_all=True)] == [2]
    assert [one.iid for one in website.mergerequests.list(updated_before=since, get_all=True)] == [1]
    assert [one.iid for one in website.mergerequests.list(order_by="updated_at", sort="asc", get_all=True)] == [1, 2]
    assert [one.iid for one in website.mergerequests.list(state="merged", get_all=True)] == [1]
    with pytest.raises(gitlab.GitlabGetError):
        website.mergerequests.get(9)


def test_issues_and_pipelines(api, website, worked):
    assert [one.iid for one in website.issues.list(state="closed", get_all=True)] == [1]
    assert website.issues.get(1).closed_at is not None
    (pipeline,) = website.pipelines.list(ref="main", get_all=True)
    assert website.pipelines.list(ref="other", get_all=True) == []
    assert website.pipelines.get(pipeline.id).queued_duration is None
    assert api("GET", "/projects/1/issues?updated_after=yesterday").json() == {"error": "updated_after is invalid"}
    refused = api("GET", "/projects/1/issues?order_by=closed_at")
    assert (refused.status_code, refused.json()) == (400, {"error": "order_by does not have a valid value"})


def test_places(gl, acme):
    assert [one.path_with_namespace for one in acme.projects.list(get_all=True)] == ["acme/api", "acme/website"]
    assert gl.projects.get("acme/api").namespace["full_path"] == "acme"
    assert [one.full_path for one in gl.groups.list(get_all=True)] == ["acme"]


def test_a_page_of_commits_is_cut_by_git(simulator, website, worked, api):
    """Ranges, `since` and pages; no totals, and after a full page there may be an empty one."""
    git = simulator.website.repository.git
    assert _shas(api, ref_name="main..two") == git("log", "--format=%H", "main..two").split()
    assert _shas(api, ref_name=git("rev-parse", "two~1").strip()) == git("log", "--format=%H", "two~1").split()
    since = (worked + timedelta(minutes=30)).isoformat()
    assert _shas(api, ref_name="two", since=since) == git("log", "--format=%H", f"--since={since}", "two").split()
    page = api("GET", "/projects/1/repository/commits?ref_name=two&per_page=3&page=2")
    assert [one["id"] for one in page.json()] == git("log", "--format=%H", "two").split()[3:6]
    assert (page.headers["x-next-page"], "x-total" in page.headers) == ("3", False)
    last = api("GET", "/projects/1/repository/commits?ref_name=two&per_page=3&page=3")
    assert (last.json(), last.headers["x-next-page"]) == ([], "")


def _shas(api, **params):
    answer = api("GET", "/projects/1/repository/commits", params={"per_page": 100, **params})
    return [one["id"] for one in answer.json()]


def test_the_merge_base_of_commits(simulator, website, api):
    simulator.push(commits=2)
    project = simulator.website
    base = project.repository.tip("main")
    simulator.push(branch="f")
    simulator.push()
    assert website.repository_merge_base(["f", "main"])["id"] == base
    assert website.repository_merge_base([base, "main"])["id"] == base
    bob = simulator.world.user("bob")
    alone = project.repository.commit("refs/heads/alone", [_draft(bob)], onto=None)[0]
    missing = api("GET", "/projects/1/repository/merge_base", params={"refs[]": ["main", alone]})
    assert (missing.status_code, missing.json()) == (404, {"message": "404 Merge Base Not Found"})


def _draft(user):
    at = datetime(2026, 1, 31, tzinfo=UTC)
    return Draft(message="Alone", author=Person(user.name, user.email), at=at, files={"a": "b\n"})


def test_a_lost_commit_is_kept_but_in_no_ref(simulator, website, api):
    """What a merge request had stays readable after a force push; `all=true` lists it, `refs` is empty."""
    project, bob = simulator.website, simulator.world.user("bob")
    simulator.push()
    simulator.push(branch="f")
    now = simulator.world.clock.now()
    simulator.run(discussions.open_merge_request(simulator.forge, project, bob, "f", title="F", at=now))
    lost = project.repository.tip("f")
    simulator.push(branch="main")
    rebased = simulator.run(simulator.forge.rebase(project, bob, "f", at=now + timedelta(hours=1))).after
    assert website.commits.get(lost).id == lost
    assert website.commits.get(lost).refs() == []
    assert website.commits.get(rebased).refs("branch") == [{"type": "branch", "name": "f"}]
    simulator.run(simulator.forge.tag(project, bob, "v1", at=now, target=rebased))
    assert website.commits.get(rebased).refs() == [{"type": "branch", "name": "f"}, {"type": "tag", "name": "v1"}]
    assert website.commits.get(rebased).refs("tag") == [{"type": "tag", "name": "v1"}]
    assert lost in _shas(api, all="true")
    simulator.world.instance.all_lists_kept_commits = False
    assert lost not in _shas(api, all="true")
    assert rebased in _shas(api, all="true")
    one = website.commits.get(rebased)
    simulator.run(simulator.forge.push(project, bob, "f", [], onto=project.repository.tip("main")))
    simulator.run(simulator.forge.delete(project, bob, "refs/tags/v1"))
    simulator.world.instance.all_lists_kept_commits = True
    assert rebased in _shas(api, all="true")  # each that the merge request ever had
    assert one.committed_date > one.authored_date
    assert one.committer_name == "Bob Brandt"


def test_what_a_commit_changed(simulator, website):
    simulator.push({"a": "1\n" * 50, "b": "2\n", "c": "3\n"})
    project, bob = simulator.website, simulator.world.user("bob")
    files, now = {"b": "4\n", "c": None}, simulator.world.clock.now()
    draft = Draft(message="Move", author=bob.git, at=now, renames={"a": "d ä"}, files=files)
    change = simulator.run(simulator.forge.push(project, bob, "main", [draft]))
    found = {one["new_path"]: one for one in website.commits.get(change.after).diff(get_all=True)}
    assert set(found) == {"d ä", "b", "c"}
    assert (found["d ä"]["renamed_file"], found["d ä"]["new_file"], found["d ä"]["old_path"]) == (True, False, "a")
    assert found["c"]["deleted_file"]
    assert not any(found["b"][how] for how in ("new_file", "renamed_file", "deleted_file"))
    (commit,) = change.commits
    assert (commit.added, commit.modified, commit.removed) == (("d ä",), ("b",), ("c",))


def test_branches_and_tags(simulator, website, worked):
    forge, project, bob = simulator.forge, simulator.website, simulator.world.user("bob")
    simulator.run(forge.branch_off(project, bob, [f"b{number:03d}" for number in range(150)]))
    simulator.run(forge.tag(project, bob, "v1", at=worked, message="One"))
    simulator.run(forge.tag(project, bob, "v2", at=worked))
    found = {one.name: one for one in website.branches.list(get_all=True)}
    assert set(found) == {ref.removeprefix("refs/heads/") for ref in project.repository.tips if "heads" in ref}
    assert (found["main"].default, found["main"].merged, found["two"].merged) == (True, False, False)
    assert found["two"].commit["id"] == project.repository.tip("two")
    simulator.push()
    assert {one.name for one in website.branches.list(get_all=True) if one.merged} >= {"b000", "b149"}
    tags = website.tags.list(get_all=True)
    assert [(one.name, one.commit["id"], one.target == one.commit["id"]) for one in tags] == [
        ("v2", project.repository.resolve("v2"), True),
        ("v1", project.repository.resolve("v1"), False),
    ]


def test_notes_tell_when_it_was_approved(simulator, website, worked):
    """Before 18.8 nothing else does; state changes have a list of their own."""
    forge, project = simulator.forge, simulator.website
    chiara, later = simulator.world.user("chiara"), worked + timedelta(hours=3)
    request, issue = project.merge_requests[1], project.issues[0]
    simulator.run(discussions.approve(forge, project, chiara, request, at=later))
    notes = website.mergerequests.get(2).notes.list(get_all=True)
    assert [(one.body, one.system, one.author["username"]) for one in notes] == [
        ("approved this merge request", True, "chiara"),
        ("hm", False, "bob"),
    ]
    assert datetime.fromisoformat(notes[0].created_at) == later.replace(microsecond=later.microsecond // 1000 * 1000)
    assert website.mergerequests.get(2).user_notes_count == 1
    simulator.run(discussions.reopen(forge, project, chiara, issue, at=later))
    events = website.issues.get(1).resourcestateevents.list(get_all=True)
    assert [(one.state, one.user["username"]) for one in events] == [("closed", "bob"), ("reopened", "chiara")]
    assert website.issues.get(1).notes.list(get_all=True) == []


def test_jobs_deployments_and_releases(simulator, website, worked, api):
    forge, project, bob = simulator.forge, simulator.website, simulator.world.user("bob")
    at = worked + timedelta(hours=2)
    (commit,) = project.repository.log("main", limit=1)
    pipeline = project.pipelines[0]
    for job, status in zip(pipeline.jobs, ("success", "success", "failed"), strict=True):
        simulator.run(ci.step(forge, project, job, status, at=at))
    retried = simulator.run(ci.retry(forge, project, bob, pipeline.jobs[-1], at=at))
    jobs = website.pipelines.get(pipeline.id).jobs
    assert len(jobs.list(get_all=True)) == 3
    assert len(jobs.list(include_retried=True, get_all=True)) == len(website.jobs.list(get_all=True)) == 4
    assert website.jobs.get(retried.id).pipeline["id"] == pipeline.id
    assert {one.status for one in website.jobs.list(scope=["failed", "pending"], get_all=True)} == {"failed", "pending"}
    first = simulator.run(ci.deploy(forge, project, bob, "production", at=at, commit=commit, job=retried))
    simulator.run(ci.step(forge, project, retried, "success", at=at))
    found = website.deployments.get(first.id)
    assert (found.status, found.environment["name"], found.deployable["id"]) == ("success", "production", retried.id)
    assert "tier" not in found.environment
    assert [one.iid for one in found.mergerequests.list(get_all=True)] == [1]
    assert website.environments.list(get_all=True)[0].tier == "production"
    assert len(website.deployments.list(environment="production", status="success", get_all=True)) == 1
    assert website.deployments.list(environment="staging", get_all=True) == []
    refused = api("GET", "/projects/1/deployments", params={"updated_after": worked.isoformat()})
    assert (refused.status_code, "requires" in refused.json()["message"]) == (400, True)
    sorted_ = {"updated_after": worked.isoformat(), "order_by": "updated_at"}
    assert len(api("GET", "/projects/1/deployments", params=sorted_).json()) == 1
    simulator.run(releases.create(forge, project, bob, "v1", at=at))
    assert website.releases.get("v1").commit["id"] == commit.sha
    assert [one.tag_name for one in website.releases.list(get_all=True)] == ["v1"]
