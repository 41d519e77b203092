"""What a run says of deliveries where receivers have seen none: GitLab's log decides, and is rarely asked."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gitpulse_operator.metrics import GITLAB_REQUESTS, HOOKS, STATUS_WRITES
from gitpulse_service.contract import DIRECTORY_ACKS, feedback_key, hook_id
from harness.life import Life, at_a_free_port, receiver_of


@pytest.fixture
def port(house):
    return at_a_free_port(house)


@pytest.fixture
async def life(house, port):
    async with Life.begun(house) as life:
        yield life


@pytest.fixture
def feedback(house):
    return feedback_key(hook_id(house.key, house.uid("website"), "project/1"))


def asked() -> float:
    """Requests to GitLab so far."""
    return sum(s.value for m in GITLAB_REQUESTS.collect() for s in m.samples if s.name.endswith("_total"))


async def push(house) -> None:
    await asyncio.to_thread(house.simulator.push)


async def test_gitlabs_log_tells_of_a_receiver_that_nobody_reaches(house, port, life):
    """On a Self-Managed GitLab, which by default switches no hook off."""
    await push(house)
    await life.run()
    assert life.delivering() == ("Unknown", "NoDeliveryYet")
    life.ask("now")
    await life.run()
    assert life.delivering() == ("False", "ReceiverUnreachable")
    await life.news.look()
    assert HOOKS.labels("unreachable")._value.get() == 1
    assert house.public_url in life.condition("Ready").message
    assert life.told()[-1] == "ReceiverUnreachable"
    with receiver_of(house, port):
        await life.run()
        assert life.delivering() == ("False", "ReceiverUnreachable"), "until a delivery has arrived"
        await push(house)
        await life.run()
        assert life.delivering() == ("True", "Proven")
        await life.news.look()
    assert HOOKS.labels("unreachable")._value.get() == 0


async def test_the_log_is_read_rarely(house, life):
    async def cost() -> float:
        before = asked()
        await life.run()
        return asked() - before

    assert [await cost() for _ in range(3)] == [1, 1, 1]
    life.later += timedelta(minutes=6)
    assert [await cost() for _ in range(2)] == [2, 1]
    life.later += timedelta(minutes=9)
    assert await cost() == 1
    life.later += timedelta(minutes=2)
    assert await cost() == 2


async def test_a_resync_of_a_proven_hook_costs_one_request_and_no_write(house, life, feedback):
    await life.run()
    for minutes in (10, 20, 30):
        life.later = timedelta(minutes=minutes)
        house.redis.hset(feedback, "accepted:1", int(life.world.clock().timestamp() * 1000))
        await life.run()  # may note when it was heard of last
        requests, writes = asked(), STATUS_WRITES.labels("GitPulseProject")._value.get()
        await life.run()
        assert (asked() - requests, STATUS_WRITES.labels("GitPulseProject")._value.get() - writes) == (1, 0)


async def test_the_log_is_not_read_where_deliveries_arrive(house, life, feedback):
    house.redis.hset(feedback, "accepted:1", int(life.world.clock().timestamp() * 1000))
    life.later = timedelta(minutes=50)
    life.ask("now")
    before = asked()
    await life.run()
    assert asked() - before == 1
    assert life.delivering() == ("True", "Proven")


@pytest.mark.parametrize(
    ("version", "status", "says"),
    [("19.1.0", "True", "none that failed"), ("17.2.0", "Unknown", "cannot be told")],
)
async def test_silence_is_told_as_far_as_it_can_be(house, port, feedback, version, status, says):
    house.simulator.world.instance.version = version
    async with Life.begun(house) as life:
        house.redis.hset(feedback, "accepted:1", int(life.world.clock().timestamp() * 1000))
        life.later = timedelta(hours=71)
        await life.run()
        assert life.delivering() == ("True", "Proven")
        life.later = timedelta(hours=80)
        await life.run()
        assert life.delivering() == (status, "Silent")
        assert says in life.condition("Delivering").message
        assert life.condition("Ready").status == "True", "nothing is known to be wrong"


async def test_what_receivers_note_becomes_a_run(house, life, feedback):
    assert await life.news.look() == []
    house.redis.hset(feedback, "accepted:1", 1000)
    assert await life.news.look() == [life.ref("website")]
    await life.run()
    house.redis.hset(feedback, "accepted:1", 2000)
    assert await life.news.look() == [], "one more delivery is no news"
    house.redis.hset(feedback, "changed", 2500)
    assert await life.news.look() == [life.ref("website")]
    assert await life.news.look() == [], "once"
    house.redis.hset(feedback, mapping={"refused": 3000, "refused:reason": "stale"})
    assert await life.news.look() == [life.ref("website")]
    await life.run()
    assert life.delivering() == ("False", "SecretRefused")
    assert HOOKS.labels("refused")._value.get() == 0
    house.redis.hset(feedback, "accepted:1", 4000)
    assert await life.news.look() == [life.ref("website")]
    assert HOOKS.labels("refused")._value.get() == 1
    await life.run()
    await life.news.look()
    assert HOOKS.labels("refused")._value.get() == 0


async def test_a_receiver_that_is_back_wakes_the_hooks_that_are_off(house, port, life):
    house.simulator.world.instance.auto_disabling = True
    house.hooks()[0].recent_failures = 40
    await life.run()
    assert await life.news.look() == []
    assert HOOKS.labels("disabled")._value.get() == 1
    with receiver_of(house, port):
        assert await life.news.look() == [life.ref("website")]
        assert await life.news.look() == [], "once"
        await life.run()
        await life.news.look()
    assert HOOKS.labels("disabled")._value.get() == 0
    assert HOOKS.labels("delivering")._value.get() == 1
    assert house.redis.hlen(DIRECTORY_ACKS) == 0


async def test_observe_says_how_a_hook_as_desired_delivers(house, feedback):
    await house.run()
    house.redis.hset(feedback, "accepted:1", 1000)
    house.change(adoptionPolicy="Observe")
    done = (await house.run())["website"]
    assert done.ready.reason == "Installed"
    assert done.status["hooks"]["delivering"] == 1
