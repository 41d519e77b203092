"""A secret is replaced while deliveries go on: simulated GitLab, real receiver, real Redis, an operator that dies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from gitpulse_operator.domain.conditions import timestamp
from gitpulse_service.contract import DIRECTORY_ACKS, feedback_key
from gitpulse_sim import discussions
from gitpulse_sim.deliver import Event
from gitpulse_sim.faults import Fault
from harness.house import House, conditions
from harness.mortal import Killed, Life, run_once
from harness.receiver import PUSH, serving, settings

STARTED_LATE = 15
"""Seconds within which a rotation must come to its end, however often the operator dies."""


@pytest.fixture
def live(house: House) -> Iterator[House]:
    """The house, with a receiver to which its hooks deliver."""
    with serving(settings(house.redis_url, installation_key=base64.b64encode(house.key).decode())) as port:
        house.public_url = f"http://127.0.0.1:{port}"
        yield house


def ask(house: House, value: str, name: str = "website") -> None:
    house.annotations[name] = {"gitpulse.io/rotate-requested-at": value}


def secret(house: House, name: str = "website") -> dict[str, Any]:
    return json.loads(house.state.read_text())[f"GitPulseProject/default/{name}"]["status"]["secret"]


def age(house: House, name: str = "website", field: str = "phaseChangedAt", **by: float) -> None:
    """So much time passes for what the status remembers."""
    state = json.loads(house.state.read_text())
    entry = state[f"GitPulseProject/default/{name}"]["status"]["secret"]
    entry[field] = timestamp(datetime.fromisoformat(entry[field]) - timedelta(**by))
    house.state.write_text(json.dumps(state))


def generations(house: House, name: str = "website") -> set[str]:
    return set(json.loads(house.state.read_text())[f"GitPulseProject/default/{name}"]["secrets"][f"gitpulse-{name}"])


@contextlib.asynccontextmanager
async def stream(house: House) -> AsyncIterator[list[int]]:
    """Deliveries without a pause, from before to after; afterwards each must have been accepted, once."""
    simulator, stop, sent = house.simulator, asyncio.Event(), [0]

    async def deliver() -> None:
        while not stop.is_set():
            await simulator.forge.engine.emit(simulator.website, Event(toggle="push_events", data=PUSH))
            sent[0] += 1
            await asyncio.sleep(0.002)

    running = asyncio.run_coroutine_threadsafe(deliver(), simulator.loop)
    try:
        yield sent
    finally:
        simulator.loop.call_soon_threadsafe(stop.set)
        await asyncio.wrap_future(running)
        await asyncio.to_thread(simulator.settle)
    (hook,) = house.hooks()
    assert {row.response_status for row in hook.log.rows} == {"200"}
    assert not house.redis.hexists(feedback(house), "refused"), "a delivery was refused"
    stored = sum(house.redis.xlen(f"gitpulse:log:{partition}") for partition in range(16))
    assert sent[0] == stored > 10


async def until_stable(house: House, generation: int, life: Life | None = None) -> set[str]:
    """Runs, each by a new operator, until the rotation is over. Returns the phases that were seen."""
    life, phases, deadline = life or Life(), set(), time.monotonic() + STARTED_LATE
    while True:
        with contextlib.suppress(Killed):
            await run_once(house, life)
        state = secret(house)
        phases.add(state["phase"])
        if (state["generation"], state["phase"]) == (generation, "Stable"):
            return phases
        if state["phase"] == "Proven":
            age(house, hours=2)
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.005)


async def test_no_delivery_is_refused_while_the_secret_changes(live):
    await live.run()
    (hook,) = live.hooks()
    old = hook.signing_token
    async with stream(live):
        ask(live, "1")
        done = await live.run()
        assert hook.signing_token not in (None, old)
        assert conditions(done["website"])["SecretCurrent"] == ("True", "Rotating")
        assert [c.generation for c in live.route_of(hook).credentials] == [2, 1]
        assert await until_stable(live, 2) - {"Pushed"} == {"Proven", "Stable"}
    assert [c.generation for c in live.route_of(hook).credentials] == [2]
    assert live.route_of(hook).require_signature
    assert generations(live) == {"generation-2"}
    done = await live.run()
    assert conditions(done["website"])["SecretCurrent"] == ("True", "Current")
    assert done["website"].status["lastHandledRotateAt"] == "1"
    assert len(live.hooks()) == 1


async def test_no_delivery_is_refused_wherever_the_operator_dies(live):
    await live.run()
    generation, died = 1, 0
    async with stream(live):
        while died == generation - 1:  # until one has lived to the end of its rotation
            ask(live, str(generation))
            life = Life(last=generation)
            generation += 1
            await until_stable(live, generation, life)
            died += life.last is not None and life.steps >= life.last
    assert died > 30, "it was killed before and after each thing it asked of GitLab, Redis and Kubernetes"


async def test_a_receiver_that_lags_behind_is_waited_for(live):
    await live.run()
    (hook,) = live.hooks()
    old = hook.signing_token
    version = max(note.decode().split()[0] for note in live.redis.hgetall(DIRECTORY_ACKS).values())

    def say(seconds_ago: float) -> None:
        live.redis.hset(DIRECTORY_ACKS, "slow", f"{version} {int((time.time() - seconds_ago) * 1000)}")

    ask(live, "1")
    say(5)
    done = await live.run()
    assert hook.signing_token == old, "the slow one would refuse what the new secret signs"
    assert secret(live)["phase"] == "Published"
    assert secret(live)["generation"] == 1
    (message,) = [c["message"] for c in done["website"].status["conditions"] if c["type"] == "SecretCurrent"]
    assert "slow" in message
    say(30)
    assert (await run_once(live, Life())).again <= 5, "looked at again soon"
    assert hook.signing_token == old
    say(3600)
    await live.run()
    assert hook.signing_token != old, "one that has died is not waited for"
    assert secret(live)["generation"] == 2


async def test_without_deliveries_a_test_proves_it(live):
    live.change(secret={"overlap": "5m"})
    await live.run()
    simulator, now = live.simulator, datetime.now(UTC)
    bob = simulator.world.user("bob")
    simulator.run(discussions.open_issue(simulator.forge, simulator.website, bob, title="There is one", at=now))
    simulator.settle()
    ask(live, "1")
    again = (await run_once(live, Life())).again
    assert secret(live)["phase"] == "Pushed"
    assert 15 < again <= 20, "a real delivery is given some time"
    live.settings["proof_patience"] = 0
    live.simulator.world.faults.append(Fault(path="*/test/push_events", status=422))
    assert (await run_once(live, Life())).again == pytest.approx(300, abs=10)
    assert secret(live)["phase"] == "Proven"


def feedback(house: House) -> str:
    return feedback_key(house.hooks()[0].url.rpartition("/")[2])


async def test_tests_that_are_too_many_are_waited_out(live):
    live.settings["proof_patience"] = 0
    await live.run()
    ask(live, "1")
    live.simulator.world.faults.append(Fault(path="*/test/*", status=429, retry_after=90))
    run = await run_once(live, Life())
    assert (secret(live)["phase"], run.again, run.error) == ("Pushed", 90, None)
    assert (await run_once(live, Life())).error is None, "other requests go on meanwhile"
    assert secret(live)["phase"] == "Proven"


@pytest.mark.parametrize("gitlab_is_down", [False, True])
async def test_a_proof_that_does_not_come_shows(live, caplog, gitlab_is_down):
    caplog.set_level(logging.INFO)
    live.settings["proof_patience"] = 0
    await live.run()
    (hook,) = live.hooks()
    live.simulator.world.faults.append(Fault(path="*/test/*", status=422, count=-1))
    ask(live, "1")
    done = await live.run()
    assert conditions(done["website"])["SecretCurrent"] == ("True", "Rotating")
    state = live.state.read_text()
    await live.run()
    assert live.state.read_text() == state, "waiting writes nothing"
    age(live, minutes=16)
    if gitlab_is_down:
        live.simulator.world.faults.append(Fault(path="*/hooks", status=502, count=-1))
    done = await live.run()
    assert conditions(done["website"])["SecretCurrent"] == ("False", "RotationStuck")
    assert conditions(done["website"])["Ready"][0] == ("False" if gitlab_is_down else "True")
    assert "RotationStuck: Rotating to generation 2 (Pushed)" in caplog.text
    assert REGISTRY.get_sample_value("gitpulse_rotations_stuck") == 1
    assert [c.generation for c in live.route_of(hook).credentials] == [2, 1], "both are accepted until it is proven"
    live.simulator.world.faults.clear()
    await live.run()
    assert secret(live)["phase"] == "Proven"
    assert REGISTRY.get_sample_value("gitpulse_rotations_stuck") == 0


@pytest.mark.parametrize("how", ["refused", "disabled"])
async def test_nothing_is_rotated_on_a_failing_hook(live, how):
    await live.run()
    (hook,) = live.hooks()
    old, key = hook.signing_token, feedback(live)
    if how == "refused":
        live.redis.hset(key, mapping={"refused": 2, "refused:reason": "wrong_signature"})
    else:
        live.simulator.world.instance.auto_disabling = True
        hook.recent_failures = 40
    ask(live, "1")
    done = await live.run()
    assert conditions(done["website"])["SecretCurrent"] == ("True", "RotationHeld")
    assert (hook.signing_token, generations(live)) == (old, {"generation-1"})
    hook.recent_failures = 0
    live.redis.hset(key, mapping={"accepted:1": 3})
    await live.run()
    assert secret(live)["generation"] == 2


async def test_a_hook_that_fails_halfway_is_not_given_the_new_secret(live):
    await live.run()
    (hook,) = live.hooks()
    old = hook.signing_token
    live.redis.hset(DIRECTORY_ACKS, "slow", f"0-0 {int(time.time() * 1000)}")
    ask(live, "1")
    await live.run()
    live.redis.hdel(DIRECTORY_ACKS, "slow")
    live.redis.hset(feedback(live), mapping={"refused": 2})
    await live.run()
    assert (hook.signing_token, secret(live)["phase"]) == (old, "Published")
    live.redis.hset(feedback(live), mapping={"accepted:1": 3})
    await live.run()
    assert (hook.signing_token != old, secret(live)["phase"]) == (True, "Pushed")


async def test_an_old_secret_is_kept_while_its_successor_is_refused(live):
    live.settings["proof_patience"] = 0
    await live.run()
    ask(live, "1")
    await live.run()
    assert secret(live)["phase"] == "Proven"
    age(live, hours=2)
    live.redis.hset(feedback(live), mapping={"refused": int(time.time() * 1000) + 60_000})
    await live.run()
    assert generations(live) == {"generation-1", "generation-2"}


async def test_it_is_rotated_when_it_is_too_old(live):
    live.change(secret={"rotationInterval": "24h"})
    await live.run()
    age(live, field="rotatedAt", hours=23)
    await live.run()
    assert secret(live)["generation"] == 1
    age(live, field="rotatedAt", hours=2)
    await live.run()
    assert secret(live)["generation"] == 2
    await until_proven(live)
    assert await until_stable(live, 2) == {"Stable"}
    live.change(secret={"rotationInterval": "0s"})
    age(live, field="rotatedAt", days=9999)
    await live.run()
    assert secret(live)["generation"] == 2


async def until_proven(house: House) -> None:
    house.settings["proof_patience"] = 0
    await house.run()
    assert secret(house)["phase"] == "Proven"
    age(house, hours=2)


async def test_the_same_request_is_answered_once_and_none_before_the_hook(live):
    ask(live, "long ago")
    await live.run()
    assert secret(live)["generation"] == 1
    await live.run()
    assert secret(live)["generation"] == 1, "what was asked for before there was a secret has been done"
    ask(live, "now")
    await live.run()
    ask(live, "and again")
    await live.run()
    assert secret(live)["generation"] == 2, "one after the other"
    await until_proven(live)
    await live.run()
    await live.run()
    assert secret(live)["generation"] == 3


async def test_a_request_for_a_connection_is_for_all_its_hooks_in_turn(live):
    names = ["website", "a", "b"]
    live.projects = {name: live.project() for name in names}
    await live.run()
    ask(live, "1", "gitlab")
    done = await live.run()
    assert [secret(live, name)["generation"] for name in sorted(names)] == [2, 1, 1], "one at a time"
    assert done["gitlab"].status["lastHandledRotateAt"] == "1"
    await live.run()
    await live.run()
    assert [secret(live, name)["generation"] for name in names] == [2, 2, 2]
    assert {
        done.status["lastHandledConnectionRotateAt"] for n, done in (await live.run()).items() if n != "gitlab"
    } == {"1"}
    live.projects["late"] = live.project()
    await live.run()
    await live.run()
    assert secret(live, "late")["generation"] == 1


async def test_a_secret_of_the_users_own_follows_theirs(live):
    live.secrets["mine"] = {"token": "first-token-of-mine\n"}
    live.change(secret={"secretRef": {"name": "mine"}})
    await live.run()
    (hook,) = live.hooks()
    assert (hook.token, hook.signing_token) == ("first-token-of-mine", None)
    assert secret(live)["type"] == "Token"
    async with stream(live):
        live.secrets["mine"] = {"token": "second-token-of-mine"}
        await live.run()
        assert hook.token == "second-token-of-mine"
        await until_stable(live, 2)
        key = base64.b64encode(bytes(32)).decode()
        live.secrets["mine"] = {"token": f"whsec_{key}"}
        await until_stable(live, 3)
        assert (hook.token or None, hook.signing_token) == (None, f"whsec_{key}")
        assert live.route_of(hook).require_signature
        live.change(secret={})
        await until_stable(live, 4)
        assert hook.signing_token not in (None, f"whsec_{key}")
    assert generations(live) == {"generation-4"}


@pytest.mark.parametrize(
    ("mine", "type_", "reason", "passing"),
    [
        (None, "Auto", "HookSecretMissing", True),
        ({"other": "x"}, "Auto", "HookSecretMissing", True),
        ({"token": "whsec_short"}, "Auto", "HookSecretInvalid", False),
        ({"token": "plain"}, "SigningToken", "HookSecretInvalid", False),
    ],
)
async def test_a_secret_that_is_not_brought_right_says_so(house, mine, type_, reason, passing):
    if mine:
        house.secrets["mine"] = mine
    house.change(secret={"type": type_, "secretRef": {"name": "mine"}})
    done = await house.run()
    assert conditions(done["website"])["Ready"] == ("False", reason)
    assert conditions(done["website"])["CredentialsValid"][0] == "True"
    assert ("Reconciling" if passing else "Stalled") in conditions(done["website"])
    assert house.hooks() == []


async def test_a_signature_takes_the_place_of_a_token_with_both_in_between(live):
    live.simulator.world.instance.version = "18.5.0"
    await live.run()
    (hook,) = live.hooks()
    token = hook.token
    async with stream(live):
        live.simulator.world.instance.version = "19.1.0"
        await live.run()
        assert hook.token == token
        assert hook.signing_token
        assert not live.route_of(hook).require_signature, "what is on its way has only the token"
        assert (secret(live)["type"], secret(live)["previousType"]) == ("SigningToken", "Token")
        await until_stable(live, 2)
    assert not hook.token
    assert live.route_of(hook).require_signature
    assert "previousType" not in secret(live)


async def test_a_token_takes_the_place_of_a_signature_where_it_is_asked_for(live):
    await live.run()
    (hook,) = live.hooks()
    async with stream(live):
        live.change(secret={"type": "Token"})
        await until_stable(live, 2)
    assert hook.token
    assert not hook.signing_token
    assert not live.route_of(hook).require_signature


async def test_while_signatures_follow_signatures_no_token_is_taken(live):
    await live.run()
    ask(live, "1")
    await live.run()
    assert secret(live)["phase"] == "Pushed"
    assert live.route_of(live.hooks()[0]).require_signature


@pytest.mark.parametrize("spec", [{"adoptionPolicy": "Observe"}, {"suspend": True}])
async def test_left_alone_means_not_rotated(live, spec):
    await live.run()
    (hook,) = live.hooks()
    old = hook.signing_token
    live.change(**spec)
    ask(live, "1")
    await live.run()
    assert (hook.signing_token, generations(live)) == (old, {"generation-1"})


async def test_numbers_are_not_used_twice(live):
    """After both status and Secret were lost, what receivers have noted of earlier generations proves nothing."""
    await live.run()
    live.redis.hset(feedback(live), mapping={"accepted:7": int(time.time() * 1000)})
    live.state.unlink()
    await live.run()
    assert secret(live)["generation"] == 8
    assert datetime.fromisoformat(secret(live)["rotatedAt"]) > datetime.now(UTC) - timedelta(minutes=1)


async def test_after_the_status_was_lost_halfway_it_goes_on(live):
    await live.run()
    async with stream(live):
        ask(live, "1")
        await live.run()
        state = json.loads(live.state.read_text())
        del state["GitPulseProject/default/website"]["status"]
        live.state.write_text(json.dumps(state))
        await until_stable(live, 2)
