"""Deliveries that failed are sent again once the hook delivers; the receiver and its log are real ones."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gitpulse_sim.faults import Fault
from gitpulse_sim.hook_log import LogRow
from harness.life import Life, at_a_free_port, receiver_of


@pytest.fixture
def port(house):
    house.simulator.world.instance.auto_disabling = True
    return at_a_free_port(house)


@pytest.fixture
async def life(house, port):
    async with Life.begun(house) as life:
        yield life


async def fail(house, times: int) -> list[LogRow]:
    """Pushes while nobody receives; what GitLab's log has of them."""
    (hook,) = house.hooks()
    before = len(hook.log.rows)
    for _ in range(times):
        await asyncio.to_thread(house.simulator.push)
    return list(hook.log.rows)[before:]


def taken(house) -> list[str]:
    """Ids of the deliveries that the receiver has stored, in this order."""
    (hook,) = house.hooks()
    return [row.idempotency_key for row in hook.log.rows if row.status == 200]


async def test_what_failed_is_sent_again_and_told(house, port, life):
    failed = await fail(house, 4)
    await asyncio.to_thread(house.simulator.push)  # dropped: the hook is off, and no log has it
    await life.run()
    with receiver_of(house, port):
        life.told()
        await life.run()
        test, *again = taken(house)
        assert again == [row.idempotency_key for row in failed]
        assert test not in again
        status = life.resource().status["repair"]
        assert (status["phase"], status["resent"], status["lost"]) == ("Done", 4, 0)
        assert status["from"] <= status["to"]
        assert life.told() == ["HookRevived", "GapRepaired", "Ready"]
        rows = len(house.hooks()[0].log.rows)
        await life.run()
        assert len(house.hooks()[0].log.rows) == rows, "once"
        assert life.told() == []
        with life.house.redis as redis:
            assert sum(redis.xlen(key) for key in redis.keys("gitpulse:log:*")) == 5


async def test_five_a_minute_and_a_restart_in_between(house, port, life):
    house.simulator.world.instance.auto_disabling = False
    failed = await fail(house, 7)
    life.ask("now")
    await life.run()
    assert life.delivering() == ("False", "ReceiverUnreachable")
    with receiver_of(house, port):
        await asyncio.to_thread(house.simulator.push)
        run = await life.run()
        assert life.delivering() == ("True", "Proven")
        status = life.resource().status["repair"]
        assert (status["phase"], status["resent"]) == ("Running", 5)
        assert 55 < run.again <= 61
        life.world.memory.keep(())  # as after a restart
        await life.turns_come_round()
        await life.run()
        assert life.resource().status["repair"] == status | {"phase": "Done", "resent": 7, "through": status["last"]}
        assert taken(house)[1:] == [row.idempotency_key for row in failed]
        assert life.told()[-1] == "GapRepaired"


async def test_the_next_repair_begins_behind_the_last(house, port, life):
    await fail(house, 4)
    with receiver_of(house, port):
        await life.run()
    assert life.resource().status["repair"]["resent"] == 4
    failed = await fail(house, 4)
    await life.run()
    await life.turns_come_round()
    with receiver_of(house, port):
        await life.run()
    assert taken(house)[-4:] == [row.idempotency_key for row in failed]


async def test_what_cannot_be_sent_again_holds_up_nothing(house, port, life):
    failed = await fail(house, 4)
    world = house.simulator.world
    gone = f"/api/v4/projects/1/hooks/*/events/{failed[0].id}/resend"
    world.faults.append(Fault(path=gone, method="POST", status=404, count=-1))
    stuck = f"/api/v4/projects/1/hooks/*/events/{failed[2].id}/resend"
    world.faults.append(Fault(path=stuck, method="POST", status=422, count=-1))
    with receiver_of(house, port):
        assert (await life.run()).again == 60, "once more, in case the receiver was away for a moment"
        status = life.resource().status["repair"]
        assert (status["phase"], status["resent"], status["lost"]) == ("Running", 1, 1)
        for _ in range(2):
            await life.turns_come_round()
            await life.run()
        status = life.resource().status["repair"]
        assert (status["phase"], status["resent"], status["lost"]) == ("Done", 2, 2)
        (note,) = [note for _, note in life.cluster.notes if note.reason == "GapRepaired"]
        assert note.type == "Warning"
        assert "2 again, 2 could not be" in note.message


async def test_what_gitlab_cannot_send_again_costs_no_try(house, port, life):
    failed = await fail(house, 4)
    (hook,) = house.hooks()
    hook.log.rows[1] = replace(failed[1], request_data={"oversize": True})
    hook.log.rows[2] = replace(failed[2], url="https://old.example.com")
    with receiver_of(house, port):
        await life.run()
    status = life.resource().status["repair"]
    assert (status["phase"], status["resent"], status["lost"]) == ("Done", 2, 2)
    assert taken(house)[1:] == [failed[0].idempotency_key, failed[3].idempotency_key]


async def test_an_older_gitlab_sends_nothing_again(house, port):
    house.simulator.world.instance.version = "17.3.0"
    async with Life.begun(house) as life:
        await fail(house, 4)
        with receiver_of(house, port):
            await life.run()
        assert life.delivering() == ("True", "Proven")
        repair = life.resource().status["repair"]
        assert list(repair) == ["backfill"], "it is fetched instead"
