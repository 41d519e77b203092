"""A replayed fortnight: what was delivered, what git says, and what the API says are the same."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from gitpulse_sim.activity import Progress, replay
from gitpulse_sim.truth import truth
from harness.simulator import simulator_in

WANTED = ["push", "tag_push", "issues", "merge_requests", "note", "pipeline"]
END = datetime(2026, 6, 19, 17, tzinfo=UTC)


def _replay(simulator, **more):
    projects = list(simulator.world.projects.values())
    return simulator.run(replay(simulator.forge, projects, until=END, **more))


@pytest.fixture
def delivered(simulator, gl, target):
    """Two weeks of both projects, through a hook each."""
    for project in gl.projects.list(get_all=True):
        project.hooks.create({"url": target.url, **{f"{name}_events": True for name in WANTED}})
    steps: list[Progress] = []
    count = _replay(simulator, progress=steps.append)
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    assert (steps[-1].events, steps[-1].fraction) == (count, 1.0)
    assert 800 <= count <= 1500
    got = target.take()
    assert len(got) == count
    return got


def test_deliveries_agree_with_git_and_the_truth(simulator, gl, delivered):
    """Every commit of `git log --all` was delivered, by the right author; so was every end of all other work."""
    created = [got.json["object_attributes"]["created_at"] for got in delivered if "object_attributes" in got.json]
    assert min(created) >= "2026-06-05"  # the past is carried in the events
    assert max(created) < "2026-06-19 17"
    for project in simulator.world.projects.values():
        said = simulator.run(truth(project))
        mine = [got.json for got in delivered if got.json["project"]["id"] == project.id]
        pushes = [payload for payload in mine if payload["object_kind"] == "push"]
        commits = {commit["id"]: commit["author"]["email"] for push in pushes for commit in push["commits"]}
        assert set(commits) == set(project.repository.git("log", "--all", "--format=%H").split())
        assert (said["commits"], said["authors"]) == (len(commits), Counter(commits.values()))
        assert said["pushes"] == len(pushes)
        assert all(push["total_commits_count"] <= 20 or push["ref"] == "refs/heads/main" for push in pushes)
        actions = Counter(
            (payload["object_kind"], payload["object_attributes"]["action"])
            for payload in mine
            if payload["object_kind"] in ("merge_request", "issue")
        )
        assert said["merge_requests"] == {
            "opened": actions["merge_request", "open"],
            "merged": actions["merge_request", "merge"],
            "closed": actions["merge_request", "close"] - actions["merge_request", "reopen"],
        }
        assert said["issues"] == {
            "opened": actions["issue", "open"],
            "closed": actions["issue", "close"] - actions["issue", "reopen"],
        }
        pipelines = [payload["object_attributes"] for payload in mine if payload["object_kind"] == "pipeline"]
        ended = [one for one in pipelines if one["status"] in ("success", "failed", "canceled")]
        last = {one["id"]: one["status"] for one in sorted(ended, key=lambda one: one["finished_at"])}
        assert said["pipelines"]["success"] == Counter(last.values())["success"]
        assert said["pipelines"]["failed"] == Counter(last.values())["failed"]
        api = gl.projects.get(project.id)
        assert len(api.mergerequests.list(state="merged", get_all=True)) == said["merge_requests"]["merged"]
        assert len(api.commits.list(all=True, get_all=True)) == said["commits"]
        assert len(api.pipelines.list(get_all=True)) == said["pipelines"]["total"]


def test_the_same_seed_is_the_same_history(simulator, simulators):
    _replay(simulator, days=4, seed=3)
    with simulator_in(simulators) as twin:
        _replay(twin, days=4, seed=3)
        assert twin.website.repository.tips == simulator.website.repository.tips
    with simulator_in(simulators) as other:
        _replay(other, days=4, seed=4)
        assert other.website.repository.tips != simulator.website.repository.tips


def test_a_second_replay_goes_on_where_the_first_ended(simulator):
    _replay(simulator, days=3)
    before = simulator.run(truth(simulator.website))["commits"]
    _replay(simulator, days=3, seed=2)
    assert simulator.run(truth(simulator.website))["commits"] > before
