"""A group's projects: listed by the thousand, archived, transferred, deleted and added while it runs."""

from __future__ import annotations

import time

import gitlab
import pytest

from gitpulse_sim import activity, groups
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.people import Role


@pytest.fixture
def deep(simulator):
    """`acme/deep` with the project `inner`, below `acme` and beside its `website` and `api`."""
    group = simulator.world.add_group("deep", parent=simulator.world.groups[1])
    simulator.world.add_project("inner", group)
    return group


def test_what_a_list_can_be_narrowed_by(simulator, acme, deep, api, token_of):
    def listed(**wanted) -> list[str]:
        return [one.path for one in acme.projects.list(get_all=True, **wanted)]

    assert listed() == ["api", "website"]
    assert listed(include_subgroups=True, with_shared=False, order_by="id", sort="asc") == ["website", "api", "inner"]
    assert listed(include_subgroups=True, order_by="path") == ["website", "inner", "api"]
    simulator.api.archived = True
    assert listed(archived=True) == ["api"]
    assert listed(archived=False) == ["website"]
    assert listed() == ["api", "website"]
    assert {one.path: one.archived for one in acme.projects.list(get_all=True)} == {"api": True, "website": False}
    (brief,) = api("GET", "/groups/1/projects?archived=true&simple=true").json()
    assert brief["path_with_namespace"] == "acme/api"
    assert not brief.keys() & {"archived", "empty_repo", "visibility"}
    reporter = token_of("fatima", Role.REPORTER)
    simulator.website.members[simulator.world.user("fatima").id] = Role.MAINTAINER
    found = api("GET", "/groups/1/projects?min_access_level=40", token=reporter).json()
    assert [one["path"] for one in found] == ["website"]


def test_only_what_one_may_see_is_listed(simulator, api, token_of):
    token = token_of("fatima", Role.NONE)
    assert api("GET", "/projects", token=token).json() == []
    simulator.api.members[simulator.world.user("fatima").id] = Role.GUEST
    assert [one["path"] for one in api("GET", "/projects", token=token).json()] == ["api"]


def test_thousands_are_made_and_listed_quickly(simulator, gl, deep):
    """Neither does a project cost a process and a folder, nor a page much more than its own rows."""
    folder = simulator.website.repository.path.parent
    acme, costs = gl.groups.get(1, lazy=True), []
    for count in (100, 7900):
        for _ in range(count):
            simulator.world.add_project(f"p{len(simulator.world.projects)}", deep)
        before = time.process_time()
        found = acme.projects.list(include_subgroups=True, per_page=100, get_all=True, simple=True)
        costs.append((time.process_time() - before) * 100 / len(found))
    assert costs[1] < 10 * costs[0], "of the client's and the simulator's time, who share a process"
    assert list(folder.iterdir()) == []
    assert len({one.id for one in found}) == 8003
    assert gl.projects.get("acme/deep/p8002").id == 8003


def test_a_repository_comes_with_its_first_use(simulator, website):
    path = simulator.website.repository.path
    assert website.commits.list(get_all=True) == []
    assert not simulator.api.repository.path.exists()
    simulator.push()
    assert path.is_dir()
    assert simulator.website.repository.count("--all") == 1


def test_an_archived_project_is_read_only(simulator, gl, hook, target):
    """No push, no activity; its hooks stay writable, as GitLab's permissions of archived projects have it."""
    project = gl.projects.get("acme/website")
    project.archive()
    assert gl.projects.get("acme/website").archived is True
    with pytest.raises(BadRequest, match="archived"):
        simulator.push()
    assert simulator.run(activity.replay(simulator.forge, [simulator.website], days=3)) == 0
    assert target.take() == []
    hook.push_events = False
    hook.save()
    with pytest.raises(gitlab.exceptions.GitlabTransferProjectError, match="403"):
        project.transfer("acme")
    project.unarchive()
    simulator.push()
    assert simulator.website.archived is False


def test_a_transferred_project_keeps_its_number(simulator, gl, api, deep, hook, target):
    """A GET by the old path is sent to the number, other methods are refused; hooks come along."""
    simulator.push()
    target.take()
    gl.projects.get(1).transfer("acme/deep")
    assert (simulator.world.find_project(1).full_path, simulator.website.id) == ("acme/deep/website", 1)
    answer = api("GET", "/projects/acme%2Fwebsite/hooks?per_page=5", allow_redirects=False)
    moved = f"{simulator.url}/api/v4/projects/1/hooks?per_page=5"
    assert (answer.status_code, answer.headers["location"]) == (301, moved)
    assert gl.projects.get("acme/website").path_with_namespace == "acme/deep/website"
    assert gl.projects.get("acme/deep/website").id == 1
    refused = api("POST", "/projects/acme%2Fwebsite/hooks", json={"url": target.url})
    assert (refused.status_code, refused.json()) == (
        405, {"message": "Non GET methods are not allowed for moved projects"},
    )  # fmt: skip
    simulator.push(project="acme/deep/website")
    assert target.one().json["project"]["path_with_namespace"] == "acme/deep/website"
    another = simulator.world.add_project("website", simulator.world.groups[1])
    assert gl.projects.get("acme/website").id == another.id
    simulator.world.move(simulator.world.projects[1], group=simulator.world.add_group("elsewhere"))
    assert simulator.world.project("acme/deep/website").id == 1, "every path that it had leads to it"
    assert api("PUT", "/projects/1/transfer", json={"namespace": "nowhere"}).status_code == 404


def test_a_stranger_is_sent_nowhere(simulator, api, deep, token_of):
    simulator.world.move(simulator.website, group=deep)
    token = token_of("fatima", Role.NONE)
    assert api("GET", "/projects/acme%2Fwebsite", token=token).status_code == 404
    maintainer = token_of("fatima", Role.MAINTAINER)
    for method, path in (("POST", "/projects/1/archive"), ("PUT", "/projects/1/transfer"), ("DELETE", "/projects/1")):
        assert api(method, path, token=maintainer).status_code == 403


def test_deleted_and_added_while_it_runs(simulator, gl, acme, target):
    acme.hooks.create({"url": target.url, "push_events": False, "project_events": True})
    gl.projects.delete("acme/website")
    made = simulator.run(groups.add_project(simulator.forge, simulator.world.groups[1], "website"))
    simulator.settle()
    assert {got.json["event_name"] for got in target.take()} == {"project_destroy", "project_create"}
    assert gl.projects.get("acme/website").id == made.id == 3
    with pytest.raises(gitlab.GitlabGetError, match="404"):
        gl.projects.get(1)
