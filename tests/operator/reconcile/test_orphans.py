"""What is left behind in GitLab is found, and nothing else: on a simulated GitLab, with resources in files."""

from __future__ import annotations

import pytest
import yaml

from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.composition import assembled
from gitpulse_operator.metrics import HOOKS_LEFT_BEHIND
from gitpulse_operator.names import hook_name
from gitpulse_operator.reconcile.orphans import find_orphans
from gitpulse_service.contract import WEBHOOK_PATH, hook_id, installation_id
from gitpulse_sim.faults import Fault
from gitpulse_sim.hook import Hook
from gitpulse_sim.people import Role
from harness.house import PUBLIC_URL, resource
from harness.simulator import running_simulator


async def scan(house, **how):
    settings = house.write()
    cluster = FolderCluster([house.manifests], house.state)
    async with assembled(settings, cluster) as world:
        return await find_orphans(world, **how)


async def found(house, **how):
    """Path -> why, of all orphans; every place could be looked at."""
    done = await scan(house, **how)
    assert done.troubles == []
    return {(o.place.parent.path, o.hook): o.why for o in done.orphans}


def add(place, world, *, name=None, url="https://example.com/x"):
    number = world.next_id("hook")
    place.hooks[number] = Hook(
        id=number, parent_kind=place.kind, parent_id=place.id, created_at=world.clock.now(), url=url, name=name
    )
    return number


def ours(house, owner, *, key=None):
    return hook_name(installation_id(key or house.key), *owner.split("/"))


def url(house, name, parent):
    return f"{PUBLIC_URL}{WEBHOOK_PATH}/{hook_id(house.key, house.uid(name), parent)}"


async def test_what_is_wanted_is_none(house):
    house.projects["all"] = house.project(group="acme", groupMode="GroupHook")
    await house.run()
    assert len(house.hooks()) == 1
    assert await found(house) == {}
    house.state.unlink()  # wishes that nobody has acted upon yet are wishes
    assert await found(house) == {}
    house.projects = {"website": house.project()}
    assert [path for path, _ in await found(house)] == ["acme"], "a group's hook is looked for too"


async def test_a_hook_whose_resource_is_gone_is_one_by_its_name_or_its_url(house):
    sim, key = house.simulator, hook_id(house.key, "gone", "project/1")
    named = add(sim.api, sim.world, name=ours(house, "default/lost"))
    unnamed = add(sim.api, sim.world, url=f"{PUBLIC_URL}{WEBHOOK_PATH}/{key}")
    assert await found(house) == {
        ("acme/api", named): "GitPulseProject default/lost is gone",
        ("acme/api", unnamed): "its GitPulseProject is gone",
    }


async def test_a_hook_that_its_resource_wants_elsewhere_is_one(house):
    sim = house.simulator
    await house.run()
    named = add(sim.api, sim.world, name=ours(house, "default/website"))
    elsewhere = url(house, "website", f"project/{sim.api.id}").replace(PUBLIC_URL, "https://was.example.com")
    unnamed = add(sim.api, sim.world, url=elsewhere)
    why = "GitPulseProject default/website wants no hook here"
    assert await found(house) == {("acme/api", named): why, ("acme/api", unnamed): why}


async def test_what_is_anothers_or_cannot_be_told_apart_from_it_is_left_alone(house):
    sim = house.simulator
    other = bytes(32)
    theirs = ours(house, "default/lost", key=other)
    add(sim.api, sim.world, name=theirs)
    add(sim.api, sim.world, name=theirs, url=f"{PUBLIC_URL}{WEBHOOK_PATH}/{'a' * 32}")
    add(sim.api, sim.world, url=f"https://other.example.com{WEBHOOK_PATH}/{'a' * 32}")
    add(sim.api, sim.world, url=f"{PUBLIC_URL}{WEBHOOK_PATH}")
    add(sim.api, sim.world, name="GitPulse is great")
    assert await found(house) == {}


async def test_who_sees_some_namespaces_leaves_alone_what_may_be_of_others(house):
    sim = house.simulator
    add(sim.api, sim.world, name=ours(house, "elsewhere/lost"))
    add(sim.api, sim.world, url=f"{PUBLIC_URL}{WEBHOOK_PATH}/{'a' * 32}")
    mine = add(sim.api, sim.world, name=ours(house, "default/lost"))
    assert [hook for _, hook in await found(house, namespaces=["default"])] == [mine]
    assert len(await found(house)) == 3


async def test_a_hook_of_a_resource_with_deletion_policy_orphan_is_one_once_that_is_gone(house):
    house.change(deletionPolicy="Orphan")
    await house.run()
    del house.projects["website"]
    await house.run()
    (hook,) = house.hooks()
    assert await found(house) == {("acme/website", hook.id): "GitPulseProject default/website is gone"}


@pytest.mark.parametrize(("mode", "left"), [("ProjectHooks", 1), ("Auto", 1), ("GroupHook", 3)])
async def test_a_groups_project_hooks_are_wanted_in_its_whole_tree(house, mode, left):
    sim = house.simulator
    world, acme = sim.world, sim.website.group
    below, beside = world.add_group("inner", parent=acme), world.add_group("acme-two")
    beside.members[world.user("alice").id] = Role.OWNER
    inner, outer = world.add_project("deep", below), world.add_project("outside", beside)
    house.projects = {"all": house.project(group="acme", groupMode=mode)}
    name = ours(house, "default/all")
    add(sim.api, world, name=name)
    add(inner, world, url=url(house, "all", f"project/{inner.id}"))
    out = add(outer, world, name=name)
    orphans = await found(house)
    assert ("acme-two/outside", out) in orphans
    assert len(orphans) == left
    acme.path = "renamed"
    (house.state).unlink(missing_ok=True)
    assert len(await found(house)) == 3, "a group that is not there wants nothing"


async def test_a_resource_whose_wish_is_not_known_has_no_orphans(house):
    house.projects["other"] = house.project(connectionRef={"name": "missing"})
    sim = house.simulator
    add(sim.api, sim.world, name=ours(house, "default/other"))
    done = await scan(house)
    assert done.orphans == []
    assert "default/other" in done.troubles[0]
    assert "missing" in done.troubles[0]


async def test_a_move_to_another_gitlab_leaves_one_in_the_old(house):
    await house.run()
    before = HOOKS_LEFT_BEHIND._value.get()
    with running_simulator() as second:
        old, house.connection["url"] = house.connection["url"], second.url
        await house.run()
        assert HOOKS_LEFT_BEHIND._value.get() == before + 1
        house.connection["url"] = old
        assert await found(house) == {}, "the resource wants it again"
        house.projects = {}
        house.connection["url"] = second.url
        assert [path for path, _ in await found(house)] == ["acme/website"]


async def test_a_deletion_that_could_not_remove_its_hook_is_counted_and_found(house):
    await house.run()
    before, token = HOOKS_LEFT_BEHIND._value.get(), house.token
    house.projects, house.token = {}, "revoked"
    await house.run()
    assert HOOKS_LEFT_BEHIND._value.get() == before + 1
    house.token = token
    assert list((await found(house)).values()) == ["GitPulseProject default/website is gone"]


async def test_one_gitlab_by_two_names_is_one(house):
    spec = {**house.connection}
    house.connection["url"] = spec["url"].replace("127.0.0.1", "localhost")
    await house.run()
    (house.manifests / "more.yaml").write_text(yaml.safe_dump(resource("GitLabConnection", "again", spec)))
    told = []
    done = await scan(house, tell=lambda *step: told.append(step))
    assert (done.orphans, done.troubles, done.places) == ([], [], 3)
    assert len(told) == 1, "what one has looked at the other leaves out"


async def test_every_page_and_every_place_is_looked_at_once(house):
    sim = house.simulator
    for number in range(230):
        last = sim.world.add_project(f"p{number}", sim.website.group)
    orphan = add(last, sim.world, name=ours(house, "default/lost"))
    house.connection["requestsPerSecond"] = 1000
    told = []
    done = await scan(house, tell=lambda *step: told.append(step))
    assert [o.hook for o in done.orphans] == [orphan]
    assert done.places == 230 + 2 + 1
    assert told[-1][2] == done.places


async def test_refusals_are_passed_over_and_waits_are_kept(house):
    sim = house.simulator
    orphan = add(sim.website, sim.world, name=ours(house, "default/lost"))
    sim.world.faults.append(Fault(path=f"*/projects/{sim.api.id}/hooks*", status=403, count=-1))
    sim.world.faults.append(Fault(path="*/hooks*", status=429, retry_after=1))
    assert [hook for _, hook in await found(house)] == [orphan]


async def test_a_gitlab_that_fails_is_said_and_the_others_are_looked_at(house):
    sim = house.simulator
    add(sim.website, sim.world, name=ours(house, "default/lost"))
    sim.world.faults.append(Fault(path="*/hooks*", status=502, count=-1))
    done = await scan(house)
    assert done.orphans == []
    assert "GitLabConnection default/gitlab" in done.troubles[0]
