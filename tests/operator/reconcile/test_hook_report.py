"""What people are told of hooks: by the operator, by receivers, and read together as the query API does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_operator.domain.conditions import Condition, to_status
from gitpulse_operator.reconcile.hook_report import hook_state
from gitpulse_service.contract import HOOKS
from gitpulse_service.log.connection import connect
from gitpulse_service.log.hooks import Hooks
from gitpulse_service.metrics_api import models
from harness.life import Life, at_a_free_port, receiver_of


@pytest.fixture
def port(house):
    house.simulator.world.instance.auto_disabling = True
    return at_a_free_port(house)


async def shown(house):
    """By path, as the query API takes it."""
    async with connect(house.redis_url) as client:
        return {it["path"]: models.Hook.model_validate(it) for it in await Hooks(client).shown()}


async def test_a_hook_is_told_from_its_first_run_to_its_end(house, port):
    async with Life.begun(house) as life:
        (hook,) = house.hooks()
        told = (await shown(house))["acme/website"]
        assert (told.resource, told.state, told.reason) == ("default/website", "new", "NoDeliveryYet")
        assert (told.kind, told.instance, told.hook) == ("Project", house.simulator.url, hook.id)
        assert told.url == f"{house.simulator.url}/acme/website/-/hooks/{hook.id}/edit"
        assert (told.last_delivery_at, told.last_refused_at, told.revivals) == (None, None, {})
        assert (told.secret["generation"], told.secret["phase"]) == (1, "Stable")

        with receiver_of(house, port):
            await asyncio.to_thread(house.simulator.push)
            await life.run()
            told = (await shown(house))["acme/website"]
            assert (told.state, told.reason) == ("delivering", "Proven")
            assert datetime.now(UTC) - told.last_delivery_at < timedelta(minutes=1)
            hook.token, hook.signing_token = "wrong", None
            await asyncio.to_thread(house.simulator.push)
            told = (await shown(house))["acme/website"]
            assert told.last_refused_at > told.last_delivery_at
            assert told.refused_reason
        with house.redis as redis:
            assert hook.url.rpartition("/")[2] not in str([it.model_dump() for it in (await shown(house)).values()])
            assert hook.token not in str(redis.hgetall(HOOKS))
    del house.projects["website"]
    await house.run()
    assert await shown(house) == {}


async def test_revivals_are_counted(house, port):
    async with Life.begun(house) as life:
        (hook,) = house.hooks()
        for count in (1, 2):
            hook.recent_failures, hook.disabled_until = 40, datetime.now(UTC) + timedelta(hours=3)
            await life.run()
            assert (await shown(house))["acme/website"].state == "disabled"
            with receiver_of(house, port):
                await life.run()
            told = (await shown(house))["acme/website"]
            assert (told.state, told.revivals["count"]) == ("delivering", count)
            assert datetime.now(UTC) - datetime.fromisoformat(told.revivals["lastAt"]) < timedelta(minutes=1)


async def test_what_stands_in_the_way_is_told_where_there_is_no_hook(house):
    house.change(project="acme/nowhere")
    await house.run()
    told = (await shown(house))[None]
    assert (told.state, told.reason, told.hook, told.url) == ("failing", "TargetNotFound", None, None)
    assert "acme/nowhere" in told.message


async def test_each_project_of_a_group_is_told_until_it_is_gone(house):
    house.simulator.world.instance.tier = "free"
    house.projects = {"acme": house.project(group="acme")}
    async with Life.begun(house) as life:
        assert set(await shown(house)) == {"acme", "acme/website", "acme/api"}
        assert {it.resource for it in (await shown(house)).values()} == {"default/acme"}
        house.simulator.world.project("acme/api").archived = True
        life.later += timedelta(minutes=6)
        await life.settle("acme")
        assert set(await shown(house)) == {"acme", "acme/website"}
        house.simulator.world.instance.tier = "ultimate"
        life.later += timedelta(hours=25)
        await life.settle("acme")
        assert set(await shown(house)) == {"acme"}


async def test_what_a_redis_has_lost_is_told_again(house):
    async with Life.begun(house) as life:
        house.flush()
        assert await shown(house) == {}
        await life.run()
        assert set(await shown(house)) == {"acme/website"}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "unknown"),
        ({"Ready": ("Unknown", "Suspended"), "Delivering": ("True", "Proven")}, "suspended"),
        ({"Ready": ("True", "Installed"), "Delivering": ("True", "Silent")}, "quiet"),
        ({"Ready": ("False", "SecretRefused"), "Delivering": ("False", "SecretRefused")}, "refused"),
        ({"Ready": ("False", "ReceiverUnreachable"), "Delivering": ("False", "ReceiverUnreachable")}, "unreachable"),
        ({"Ready": ("False", "TokenInvalid"), "Delivering": ("True", "Proven")}, "failing"),
        ({"Ready": ("False", "TokenInvalid"), "HookInstalled": ("False", "TokenInvalid")}, "failing"),
        ({"Ready": ("True", "Installed"), "Delivering": ("Unknown", "SomethingNew")}, "unknown"),
    ],
)
def test_one_word_says_how_a_hook_is(said, state):
    said = {"HookInstalled": ("True", "Installed"), **said} if said else {}
    conditions = [Condition(kind, status, reason, "") for kind, (status, reason) in said.items()]
    assert hook_state(to_status(conditions, before=(), generation=1, now=datetime.now(UTC))) == state
