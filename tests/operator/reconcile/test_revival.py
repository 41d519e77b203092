"""Hooks that GitLab switches off because nobody answered, and switches on again; the receiver is a real one."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_operator.metrics import GITLAB_REQUESTS, REVIVALS
from gitpulse_service.contract import DIRECTORY_ACKS
from gitpulse_sim.hook import Hook
from harness.life import Life, at_a_free_port, receiver_of


@pytest.fixture
def port(house):
    """Where the receiver will be; GitLab switches hooks off that do not deliver there."""
    house.simulator.world.instance.auto_disabling = True
    return at_a_free_port(house)


@pytest.fixture
async def life(house, port):
    async with Life.begun(house) as life:
        yield life


def switch_off(hook: Hook, failures: int = 40) -> None:
    """As after so many deliveries in a row that failed."""
    hook.recent_failures = failures
    hook.disabled_until = datetime.now(UTC) + timedelta(hours=3)


def requests(method: str, status: str) -> float:
    return GITLAB_REQUESTS.labels(method, status)._value.get()


async def push(house, times: int = 1) -> None:
    for _ in range(times):
        await asyncio.to_thread(house.simulator.push)


async def test_from_proven_to_off_and_back(house, port, life):
    (hook,) = house.hooks()
    assert life.delivering() == ("Unknown", "NoDeliveryYet")
    with receiver_of(house, port):
        await push(house)
        await life.run()
        assert life.delivering() == ("True", "Proven")
    await push(house, 4)
    life.told()
    run = await life.run()
    assert life.delivering() == ("False", "HookDisabled")
    assert "until 20" in life.condition("Delivering").message
    assert "once a receiver is up" in life.condition("Delivering").message
    assert life.condition("Ready").reason == life.condition("Reconciling").reason == "HookDisabled"
    assert life.told() == ["HookDisabled"]
    assert life.resource().status["hooks"]["disabled"] == 1
    assert len(hook.log.rows) == 5, "no test while nobody could take it"
    assert run.again > 500
    await life.run()
    assert life.told() == [], "events on transitions only"

    with receiver_of(house, port):
        await life.run()
    assert life.delivering() == ("True", "Proven")
    assert life.condition("Ready").status == "True"
    assert (hook.recent_failures, hook.disabled_until) == (0, None)
    assert life.told() == ["HookRevived", "GapRepaired", "Ready"]
    assert life.resource().status["hooks"]["disabled"] == 0


async def test_one_that_is_off_for_good_is_revived_too(house, port, life):
    (hook,) = house.hooks()
    switch_off(hook)
    with receiver_of(house, port):
        await life.run()
        assert life.delivering() == ("True", "Proven")
        assert life.told()[-2:] == ["HookDisabled", "HookRevived"], "both, though one run saw both"
    assert house.hooks() == [hook]
    assert hook.recent_failures == 0


async def test_how_long_it_was_off_is_told(house, port, life):
    switch_off(house.hooks()[0])
    await life.run()
    life.later = timedelta(minutes=90)
    with receiver_of(house, port):
        house.redis.hset(DIRECTORY_ACKS, "receiver", f"0-0 {(time.time() + 5400) * 1000:.0f}")
        await life.run()
    (note,) = [note.message for _, note in life.cluster.notes if note.reason == "HookRevived"]
    assert "on again after 1 h 30 min: a test delivery (push_events) was taken" in note


@pytest.mark.parametrize("spec", [{"suspend": True}, {"adoptionPolicy": "Observe"}])
async def test_what_is_to_be_left_alone_is(house, port, spec):
    await house.run()
    (hook,) = house.hooks()
    switch_off(hook)
    house.change(**spec)
    with receiver_of(house, port):
        done = (await house.run())["website"]
    assert hook.recent_failures == 40
    assert not hook.log.rows
    if "suspend" not in spec:
        assert done.ready.reason == "HookDisabled"
        assert '"Observe", so it is left as it is' in done.ready.message


async def test_a_receiver_that_died_is_not_a_receiver(house, port, life):
    """One that is killed leaves its acknowledgement behind."""
    (hook,) = house.hooks()
    switch_off(hook)
    house.redis.hset(DIRECTORY_ACKS, "receiver", f"0-0 {(time.time() - 60) * 1000:.0f}")
    await life.run()
    assert not hook.log.rows


async def test_a_test_that_fails_is_tried_again_ever_later(house, port, life):
    (hook,) = house.hooks()
    switch_off(hook)
    failed = REVIVALS.labels("failed")._value.get()
    house.redis.hset(DIRECTORY_ACKS, "receiver", f"0-0 {(time.time() + 60) * 1000:.0f}")
    waits = [(await life.run()).again for _ in range(3)]
    assert waits == [60, 120, 240]
    assert REVIVALS.labels("failed")._value.get() - failed == 3
    assert life.delivering() == ("False", "HookDisabled")
    assert "A test delivery to revive it failed: " in life.condition("Delivering").message
    assert hook in house.hooks(), "that nobody answers is no reason to make it anew"
    await life.turns_come_round()
    with receiver_of(house, port):
        await life.run()
        assert life.delivering() == ("True", "Proven")
        await life.run()
    switch_off(hook)
    house.redis.hset(DIRECTORY_ACKS, "receiver", f"0-0 {(time.time() + 60) * 1000:.0f}")
    assert (await life.run()).again == 60, "another time is another story"


async def test_five_a_minute_and_nobody_else_waits(house, port, monkeypatch):
    house.projects = {f"website-{number}": house.project() for number in range(7)}
    house.projects["zebra"] = house.project(project="acme/api")
    limited, names = requests("POST", "429"), list(house.projects)
    async with Life.begun(house) as life:
        with receiver_of(house, port):
            for hook in (*house.hooks(), *house.hooks("acme/api")):
                switch_off(hook)
            runs = {name: await life.run(name) for name in names}
            revived = [name for name in names if life.delivering(name)[0] == "True"]
            assert revived == [*names[:5], "zebra"]
            assert all(55 < runs[name].again <= 61 for name in names[5:7])
            assert "when its turn comes" in life.condition("Ready", "website-5").message
            again = await life.run("website-5")
            assert again.again <= runs["website-5"].again, "its turn is kept"
    assert requests("POST", "429") == limited, "GitLab never had to say no"


async def test_a_turn_that_somebody_else_took_is_waited_for(house, port, life):
    (hook,) = house.hooks()
    switch_off(hook)
    world, now = house.simulator.world, time.time()
    world.manual_calls["test", "project", house.simulator.website.id, world.user("alice").id] = [now] * 5
    with receiver_of(house, port):
        run = await life.run()
        assert run.again == 61
        assert life.delivering() == ("False", "HookDisabled")
        run = await life.run()
        assert run.error is None, "and the connection goes on: its hooks were listed"


async def test_an_event_without_data_gives_way_to_another(house, port):
    house.projects = {"website": house.project(project="acme/api", events=["MergeRequest", "Note", "TagPush"])}
    async with Life.begun(house) as life:
        (hook,) = house.hooks("acme/api")
        switch_off(hook)
        with receiver_of(house, port):
            await life.run()
        assert [row.toggle for row in hook.log.rows] == ["tag_push_events"]
        assert hook.recent_failures == 0


async def test_made_anew_where_gitlab_can_make_no_test(house, port):
    house.projects = {"website": house.project(events=["Deployment"])}
    async with Life.begun(house) as life:
        (old,) = house.hooks()
        switch_off(old, failures=5)
        with receiver_of(house, port):
            await life.run()
            assert house.hooks() == [old], "not while GitLab tries again by itself"
            switch_off(old)
            life.told()
            await life.run()
            (new,) = house.hooks()
            assert new.id != old.id
            assert new.signing_token == old.signing_token
            assert life.resource().status["hookID"] == new.id
            assert life.told() == ["HookCreated", "HookRevived", "Ready"]
            await life.run()
            assert house.hooks() == [new]


async def test_what_was_impossible_is_not_asked_for_again(house, port):
    events = ["MergeRequest", "Issue", "Note", "Pipeline", "Job", "Release"]
    house.projects = {"website": house.project(project="acme/api", events=events)}
    async with Life.begun(house) as life:
        (old,) = house.hooks("acme/api")
        switch_off(old)
        with receiver_of(house, port):
            assert 55 < (await life.run()).again <= 61, "five of six are tried"
            assert house.hooks("acme/api") == [old]
            await life.turns_come_round()
            await life.run()
        (new,) = house.hooks("acme/api")
        assert new.id != old.id


async def test_a_groups_hook_is_revived_like_a_projects(house, port):
    house.projects = {"acme": house.project(group="acme", events=["MergeRequest", "Push"])}
    async with Life.begun(house) as life:
        (hook,) = house.simulator.world.find_group("acme").hooks.values()
        switch_off(hook)
        with receiver_of(house, port):
            await life.run("acme")
        assert life.delivering("acme") == ("True", "Proven")
        assert hook.recent_failures == 0
