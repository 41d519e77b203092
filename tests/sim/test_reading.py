"""What a REST backfill reads: commits, merge requests, issues, pipelines."""

from __future__ import annotations

from datetime import timedelta

import gitlab
import pytest

from gitpulse_sim import ci, discussions


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


def test_commits_and_comparison(simulator, website, worked):
    git = simulator.website.repository.git
    assert [one.id for one in website.commits.list(get_all=True)] == git(
        "log", "--topo-order", "--format=%H", "main"
    ).split()
    assert len(website.commits.list(all=True, get_all=True)) == simulator.website.repository.count("--all") == 6
    assert len(website.commits.list(ref_name="two", get_all=True)) == 6
    with pytest.raises(gitlab.GitlabListError):
        website.commits.list(ref_name="nowhere", get_all=True)
    one = website.commits.get("two")
    assert (one.author_email, len(one.parent_ids)) == ("bob@acme.example", 1)
    compared = website.repository_compare("main", "two")
    assert [commit["id"] for commit in compared["commits"]] == git(
        "log", "--reverse", "--format=%H", "main..two"
    ).split()
    assert all(diff["new_file"] for diff in compared["diffs"])
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


def test_places(gl, acme):
    assert [one.path_with_namespace for one in acme.projects.list(get_all=True)] == ["acme/api", "acme/website"]
    assert gl.projects.get("acme/api").namespace["full_path"] == "acme"
    assert [one.full_path for one in gl.groups.list(get_all=True)] == ["acme"]
