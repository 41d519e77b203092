"""A group is followed project by project where it cannot have, or is not to have, a hook of its own."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitpulse_operator.domain.fleet import pack, unpack
from gitpulse_operator.metrics import GITLAB_REQUESTS, STATUS_WRITES
from gitpulse_sim.faults import Fault
from gitpulse_sim.hook import Hook
from gitpulse_sim.world import Group
from harness.cluster import total
from harness.house import House, conditions
from harness.life import Life, at_a_free_port, receiver_of
from harness.mortal import Killed, Life as Span, run_once
from harness.simulator import running_simulator


@pytest.fixture
def free(house: House) -> House:
    """On a tier without group hooks, with `acme` to follow: `website`, `api`, and `deep/inner` in a subgroup."""
    house.simulator.world.instance.tier = "free"
    deep = house.simulator.world.add_group("deep", parent=acme(house))
    house.simulator.world.add_project("inner", deep)
    house.projects = {"acme": house.project(group="acme")}
    return house


def acme(house: House) -> Group:
    return house.simulator.world.groups[1]


def hooks(house: House) -> dict[str, list[Hook]]:
    """Path -> its hooks, of projects and groups that have some."""
    return {place.full_path: list(place.hooks.values()) for place in house.simulator.world.parents if place.hooks}


def state(house: House) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.state.read_text())["GitPulseProject/default/acme"]
    return found


def accepted(house: House, hook: Hook) -> bool:
    """Whether receivers take what this hook is given."""
    return any(
        (hook.token == credential.token)
        if hook.token
        else hook.signing_token == f"whsec_{base64.b64encode(credential.signing_key).decode()}"
        for credential in house.route_of(hook).credentials
    )


def asked() -> dict[str, float]:
    """Requests to GitLab so far, by method."""
    return {method: total(GITLAB_REQUESTS, method=method) for method in ("GET", "POST", "PUT", "DELETE")}


ALL = {"acme/website", "acme/api", "acme/deep/inner"}


async def test_each_project_of_the_tree_has_its_hook(free):
    done = (await free.run())["acme"]
    assert hooks(free).keys() == ALL
    assert done.ready.status == "True"
    assert done.status["groupMode"] == "ProjectHooks"
    assert "hookID" not in done.status
    assert done.status["hooks"] == {"desired": 3, "installed": 3, "delivering": 0, "disabled": 0, "failing": 0}
    ours = [hook for each in hooks(free).values() for hook in each]
    assert all(accepted(free, hook) for hook in ours)
    assert len({hook.signing_token for hook in ours}) == len({hook.url for hook in ours}) == 3
    assert state(free)["secrets"].keys() == {"gitpulse-acme"}, "one Secret for all"
    assert len(free.routes()) == 3


async def test_without_being_asked_a_group_hook_is_taken_where_there_are_some(free):
    free.simulator.world.instance.tier = "premium"
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme"}
    assert done.status["groupMode"] == "GroupHook"


async def test_project_hooks_can_be_asked_for(free):
    free.simulator.world.instance.tier = "premium"
    free.change("acme", groupMode="ProjectHooks")
    await free.run()
    assert hooks(free).keys() == ALL


async def test_what_comes_and_goes_is_followed(free):
    world = free.simulator.world
    await free.run()
    (kept,) = free.simulator.website.hooks.values()
    other = world.add_group("other")
    other.members = dict(acme(free).members)
    inner = next(project for project in world.projects.values() if project.path == "inner")
    world.move(inner, group=other)
    world.move(free.simulator.website, path="site")
    free.simulator.api.archived = True
    world.add_project("new", acme(free))
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme/site", "acme/new"}
    assert list(free.simulator.website.hooks.values()) == [kept], "renamed, not made anew"
    assert done.status["hooks"]["desired"] == done.status["hooks"]["installed"] == 2
    assert len(free.routes()) == 2
    free.simulator.api.archived = False
    world.move(inner, group=acme(free))
    del world.projects[free.simulator.website.id]
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme/api", "acme/inner", "acme/new"}
    assert done.ready.status == "True"
    assert len(free.routes()) == 3


async def test_a_group_hook_takes_over_and_gives_way_without_a_gap(free):
    """Each hook of the old kind stays until those of the new kind are there."""
    instance = free.simulator.world.instance
    await free.run()
    instance.tier = "premium"
    creates = f"/api/v4/groups/{acme(free).id}/hooks"
    free.simulator.world.faults.append(Fault(path=creates, method="POST", status=502, count=-1))
    await free.run()
    assert hooks(free).keys() == ALL, "no hook goes before the new one is there"
    free.simulator.world.faults.clear()
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme"}
    assert len(free.routes()) == 1
    assert done.ready.status == "True"
    done = (await free.run())["acme"]
    assert done.status["groupMode"] == "GroupHook"
    free.change("acme", groupMode="ProjectHooks")
    api = f"/api/v4/projects/{free.simulator.api.id}/hooks"
    free.simulator.world.faults.append(Fault(path=api, method="POST", status=502))
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme", "acme/website", "acme/deep/inner"}, "the group's stays until all are there"
    assert len(free.routes()) == 4, "of the one that is to come too"
    done = (await free.run())["acme"]
    assert hooks(free).keys() == ALL
    assert done.status["groupMode"] == "ProjectHooks"
    assert len(free.routes()) == 3


async def test_a_lost_role_does_not_multiply_hooks(free):
    free.simulator.world.instance.tier = "premium"
    await free.run()
    free.simulator.world.faults.append(Fault(path="/api/v4/groups/1/hooks*", status=403, count=-1))
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme"}
    assert conditions(done)["Stalled"] == ("True", "Forbidden")


async def test_observe_makes_none_and_says_of_how_many(free):
    free.change("acme", adoptionPolicy="Observe")
    done = (await free.run())["acme"]
    assert hooks(free) == {}
    assert conditions(done)["Ready"] == ("False", "WouldChange")
    assert "3 of 3 projects" in done.ready.message
    assert "create the hook" in done.ready.message


async def test_one_project_that_fails_keeps_no_other_from_its_hook(free):
    api = free.simulator.api
    free.simulator.world.faults.append(Fault(path=f"/api/v4/projects/{api.id}/hooks", status=403, count=-1))
    done = (await free.run())["acme"]
    assert hooks(free).keys() == {"acme/website", "acme/deep/inner"}
    assert conditions(done)["Stalled"] == ("True", "Forbidden")
    (failing,) = done.status["failingProjects"]
    assert (failing["id"], failing["path"], failing["reason"]) == (api.id, "acme/api", "Forbidden")
    assert done.status["hooks"]["failing"] == 1
    free.simulator.world.faults.clear()
    done = (await free.run())["acme"]
    assert done.ready.status == "True"
    assert "failingProjects" not in done.status


async def test_no_more_than_twenty_are_named(free):
    for number in range(25):
        free.simulator.world.add_project(f"p{number}", acme(free))
    free.simulator.world.faults.append(Fault(path="/api/v4/projects/*/hooks", status=403, count=-1))
    done = (await free.run())["acme"]
    assert len(done.status["failingProjects"]) == 20
    assert done.status["hooks"]["failing"] == 28


async def test_an_unchanged_group_costs_one_request_a_hook_and_no_write(free):
    async with Life.begun(free) as life:
        await life.settle("acme", *life.members("acme"))
        before, writes, kept = asked(), total(STATUS_WRITES), state(free)
        life.later += timedelta(minutes=10)
        await life.settle("acme", *life.members("acme"))
        made = {method: count - before[method] for method, count in asked().items()}
        assert made == {"GET": 3 + 1 + 3 + 3, "POST": 0, "PUT": 0, "DELETE": 0}, (
            "is there a group hook; a list; three hooks, and three logs as nothing has come yet"
        )
        assert total(STATUS_WRITES) == writes
        assert state(free) == kept


async def test_an_unchanged_restart_writes_nothing(free):
    async with Life.begun(free):
        before, kept = asked(), state(free)
    writes = total(STATUS_WRITES)
    async with Life.begun(free):
        assert {method: count - before[method] for method, count in asked().items() if method != "GET"} == {
            "POST": 0,
            "PUT": 0,
            "DELETE": 0,
        }
        assert total(STATUS_WRITES) == writes
        assert state(free) == kept


async def test_receivers_know_all_again_by_the_groups_run_alone(free):
    async with Life.begun(free) as life:
        before = free.routes()
        free.flush()
        await life.run("acme")
        assert free.routes() == before
        assert len(before) == 3


async def test_receivers_know_all_again_though_gitlab_refuses_the_token(free):
    await free.run()
    before = free.routes()
    free.flush()
    free.simulator.world.faults.append(Fault(status=401, count=-1))
    assert (await free.run())["acme"].ready.reason == "CredentialsInvalid"
    assert free.routes() == before


async def test_receivers_know_all_again_of_a_suspended_group(free):
    await free.run()
    before = free.routes()
    free.flush()
    free.change("acme", suspend=True)
    assert (await free.run())["acme"].ready.reason == "Suspended"
    assert free.routes() == before


async def test_another_gitlab_is_asked_for_its_own_projects(free):
    """Where the same numbers are of others: nothing is made there before the group has been listed."""
    async with Life.begun(free) as life:
        with running_simulator() as other:
            other.world.instance.tier = "free"
            other.world.groups[1].path = "somebody-else"
            theirs = other.world.add_group("acme")
            theirs.members = dict(other.world.groups[1].members)
            project = other.world.add_project("new", theirs)
            life.cluster._bodies[life.ref("gitlab")]["spec"]["url"] = other.url
            life.world.connections.forget("default", "gitlab")
            await life.settle(*life.members("acme"))
            await life.settle("acme")
            places = {place.full_path for place in other.world.parents if place.hooks}
            assert places == {"acme/new"}
            assert life.resource("acme").status["target"]["id"] == theirs.id
            assert [ref.member for ref in life.members("acme")] == [project.id]


async def test_edits_by_others_are_put_right_in_each_project(free):
    await free.run()
    (hook,) = free.simulator.api.hooks.values()
    hook.events = {"push_events"}
    (gone,) = free.simulator.website.hooks.values()
    free.simulator.website.hooks.clear()
    async with Life.begun(free) as life:
        assert hook.events != {"push_events"}
        (anew,) = free.simulator.website.hooks.values()
        assert anew.url == gone.url
        assert life.resource("acme").status["hooks"]["installed"] == 3


@pytest.mark.parametrize(("policy", "left"), [("Delete", set()), ("Orphan", ALL)])
async def test_all_go_with_the_group_by_its_policy(free, policy, left):
    free.change("acme", deletionPolicy=policy)
    await free.run()
    free.projects = {}
    await free.run()
    assert hooks(free).keys() == left
    assert free.routes() == {}


async def test_a_role_in_the_group_is_not_needed_to_remove_the_hooks_of_its_projects(free):
    free.simulator.world.instance.tier = "premium"
    free.simulator.world.faults.append(Fault(path="/api/v4/groups/1/hooks*", status=403, count=-1))
    async with Life.begun(free) as life:
        assert hooks(free).keys() == ALL
        life.told()
        await life._runner.clean_up(life.resource("acme"))
        assert hooks(free) == {}
        assert "HookLeftBehind" not in life.told()


async def test_a_removal_ends_though_gitlab_stays_down_for_thousands(free):
    for number in range(40):
        free.simulator.world.add_project(f"p{number}", acme(free))
    async with Life.begun(free) as life:
        free.simulator.world.faults.append(Fault(path="/api/v4/projects/*/hooks", status=502, count=-1))
        before, leaving = asked()["GET"], replace(life.resource("acme"), deleted_at=life.world.clock())
        life.later += timedelta(seconds=601)
        life.told()
        await life._runner.clean_up(leaving)
        assert life.told() == ["HookLeftBehind"]
        assert asked()["GET"] - before < 20, "once some were tried in vain there is no time left for all"
        assert free.routes() == {}, "and nothing of them is received"


async def test_a_removal_that_was_interrupted_goes_on_with_the_rest(free):
    await free.run()
    free.projects = {}
    api = f"/api/v4/projects/{free.simulator.api.id}/hooks*"
    free.simulator.world.faults.append(Fault(path=api, status=502))
    await free.run()
    assert hooks(free).keys() == {"acme/api"}
    assert unpack(base64.b64decode(state(free)["memory"])).keys() == {free.simulator.api.id}, "the others are done"
    await free.run()
    assert hooks(free) == {}


async def test_a_project_that_left_while_nobody_looked_loses_its_hook_after_a_restart(free):
    await free.run()
    inner = next(project for project in free.simulator.world.projects.values() if project.path == "inner")
    inner.archived = True
    free.simulator.world.faults.append(Fault(path=f"/api/v4/projects/{inner.id}/hooks*", status=502))
    await free.run()
    assert "acme/deep/inner" in hooks(free)
    await free.run()
    assert "acme/deep/inner" not in hooks(free)


async def test_a_secret_is_rotated_in_all_projects_and_the_old_one_goes_when_each_has_proven_the_new(free):
    port = at_a_free_port(free)
    free.change("acme", secret={"overlap": "1m"})
    with receiver_of(free, port):
        async with Life.begun(free) as life:
            old = {hook.signing_token for each in hooks(free).values() for hook in each}
            free.annotations["acme"] = {"gitpulse.io/rotate-requested-at": "now"}
            life.annotate("acme", {"gitpulse.io/rotate-requested-at": "now"})
            await life.settle("acme")
            ours = [hook for each in hooks(free).values() for hook in each]
            assert not {hook.signing_token for hook in ours} & old
            assert life.resource("acme").status["secret"]["phase"] == "Pushed"
            for project in ALL - {"acme/api"}:
                free.simulator.push({"a": "b"}, project=project)
            await life.settle("acme", *life.members("acme"))
            assert life.resource("acme").status["secret"]["phase"] == "Pushed", "one has not delivered with it"
            life.later += timedelta(minutes=2)
            for ref in life.members("acme"):
                if ref.member != free.simulator.api.id:
                    await life._runner.run(ref)
            assert len(state(free)["secrets"]["gitpulse-acme"]) == 2, "nobody ends it alone"
            free.simulator.push({"a": "b"}, project="acme/api")
            await life.settle("acme", *life.members("acme"))
            assert life.resource("acme").status["secret"]["phase"] == "Proven"
            assert len(free.route_of(ours[0]).credentials) == 2
            life.later += timedelta(minutes=2)
            await life.settle("acme", *life.members("acme"))
            assert life.resource("acme").status["secret"]["phase"] == "Stable"
            assert life.resource("acme").status["secret"]["generation"] == 2
            assert state(free)["secrets"]["gitpulse-acme"].keys() == {"generation-2"}
            assert all(len(free.route_of(hook).credentials) == 1 for hook in ours)
            assert all(accepted(free, hook) for hook in ours)
        for project in ALL:
            free.simulator.push({"a": "c"}, project=project)
        assert {row.status for hook in ours for row in hook.log.rows} == {200}


async def test_no_project_begins_a_rotation_of_what_all_share(free):
    free.change("acme", secret={"rotationInterval": "2h"})
    async with Life.begun(free) as life:
        life.later += timedelta(hours=3)
        for ref in life.members("acme"):
            await life._runner.run(ref)
        assert state(free)["secrets"]["gitpulse-acme"].keys() == {"generation-1"}
        await life.run("acme")
        assert state(free)["secrets"]["gitpulse-acme"].keys() == {"generation-1", "generation-2"}


async def test_a_hook_that_is_off_holds_up_no_rotation(free):
    port = at_a_free_port(free)
    free.change("acme", secret={"overlap": "1m"})
    with receiver_of(free, port):
        async with Life.begun(free) as life:
            for project in ALL:
                free.simulator.push({"a": "b"}, project=project)
            free.simulator.world.faults.append(Fault(path="/api/v4/projects/*/test/*", status=422, count=-1))
            (off,) = free.simulator.api.hooks.values()
            free.simulator.world.instance.auto_disabling = True
            off.recent_failures = 40
            await life.settle("acme", *life.members("acme"))
            assert life.resource("acme").status["hooks"]["disabled"] == 1
            life.annotate("acme", {"gitpulse.io/rotate-requested-at": "now"})
            await life.settle("acme")
            for project in ALL - {"acme/api"}:
                free.simulator.push({"a": "c"}, project=project)
            await life.settle("acme", *life.members("acme"))
            life.later += timedelta(minutes=2)
            await life.settle("acme", *life.members("acme"))
            assert life.resource("acme").status["secret"]["phase"] == "Stable"
            assert accepted(free, off), "it was given the newest before anybody switches it on"


async def test_an_operator_that_dies_anywhere_leaves_one_hook_each(free):
    """Each new one knows only what was kept; the last one comes to the end."""
    step = 0
    while True:
        step += 3
        try:
            await run_once(free, Span(step), "acme")
        except Killed:
            continue
        break
    done = (await free.run())["acme"]
    assert {path: len(each) for path, each in hooks(free).items()} == dict.fromkeys(ALL, 1)
    assert done.ready.status == "True"
    assert all(accepted(free, hook) for each in hooks(free).values() for hook in each)
    assert step > 9


async def test_a_project_that_leaves_after_a_death_anywhere_leaves_no_hook_behind(free):
    """What the dead one has made is known to the next one, though no status tells of it."""
    step, wish, completed = 0, free.projects, False
    while not completed:
        step += 3
        try:
            await run_once(free, Span(step), "acme")
            completed = True
        except Killed:
            pass
        free.simulator.api.archived = True
        await free.run()
        assert hooks(free).keys() == ALL - {"acme/api"}, f"it died at step {step}"
        free.simulator.api.archived, free.projects = False, {}
        await free.run()
        assert hooks(free) == {}
        free.projects = wish


def test_what_is_remembered_of_thousands_fits_into_a_config_map():
    """As long as GitLab's numbers and paths are about as long as they are."""
    times = [
        f"2026-11-{day:02}T{hour:02}:{minute:02}:07Z"
        for day in range(1, 29)
        for hour in range(24)
        for minute in range(12)
    ]
    members = {
        70_000_000 + 7 * number: (
            {
                "target": {
                    "kind": "Project",
                    "id": 70_000_000 + 7 * number,
                    "path": f"company/team-{number % 90}/service-{number * 31}",
                    "instance": "https://gitlab.example.com",
                },
                "hookID": 90_000_000 + 13 * number,
                "hooks": {"desired": 1, "installed": 1, "delivering": 1, "disabled": 0, "failing": 0},
                "secret": {"generation": 3, "type": "SigningToken", "phase": "Stable", "rotatedAt": times[number]},
                "conditions": [
                    {
                        "type": kind,
                        "status": "True",
                        "reason": "Installed",
                        "lastTransitionTime": times[-number],
                        "message": "long " * 40,
                    }
                    for kind in ("Ready", "HookInstalled", "CredentialsValid", "Delivering", "SecretCurrent")
                ],
            },
            None,
        )
        for number in range(8000)
    }
    packed = pack(members)
    assert len(packed) < 700_000, "of the 1,048,576 that Kubernetes allows"
    assert {number: status["hookID"] for number, (status, _) in unpack(packed).items()} == {
        number: status["hookID"] for number, (status, _) in members.items()
    }
    assert unpack(b"damaged") == {}
