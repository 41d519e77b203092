"""Teams: what workers are told of them, and what their status says. Files, a real Redis."""

from __future__ import annotations

import pytest

from gitpulse_operator.domain.conditions import find
from gitpulse_service.contract import TEAMS, Person, Team, unseal
from harness.house import Reconciled

ANN = {"name": "Ann", "emails": ["ann@acme.example"], "names": ["Annie"], "usernames": ["ann"], "gitlabIDs": [7]}


@pytest.fixture
def house(house):
    house.projects.clear()
    house.teams["default/acme"] = {"members": [dict(ANN)], "timeZone": "Europe/Berlin", "bots": ["renovate*"]}
    return house


def published(house) -> dict[str, Team]:
    with house.redis as redis:
        sealed = redis.hgetall(TEAMS)
    return {place.decode(): unseal(house.key, place.decode(), record, Team) for place, record in sealed.items()}


def ready(done: Reconciled) -> tuple[str, str]:
    return done.ready.status, done.ready.reason


async def test_workers_learn_of_a_team(house):
    done = await house.run()
    person = Person("Ann", ("ann@acme.example",), ("Annie",), ("ann",), (7,))
    assert published(house) == {"default/acme": Team("acme", (person,), "Europe/Berlin", ("renovate*",), "default")}
    team = done["default/acme"]
    assert ready(team) == ("True", "InUse")
    assert (team.status["members"], team.status["observedGeneration"]) == (1, 1)
    with house.redis as redis:
        assert b"ann@" not in b"".join(redis.hgetall(TEAMS).values())


async def test_what_is_published_already_stays_as_it_is(house):
    await house.run()
    with house.redis as redis:
        before = redis.hgetall(TEAMS)
        await house.run()
        assert redis.hgetall(TEAMS) == before


async def test_a_change_and_a_loss_are_made_good(house):
    await house.run()
    house.teams["default/acme"]["members"][0]["name"] = "Anna"
    await house.run()
    assert published(house)["default/acme"].members[0].name == "Anna"
    house.flush()
    await house.run()
    assert set(published(house)) == {"default/acme"}


async def test_a_team_that_is_gone_is_withdrawn(house):
    await house.run()
    house.teams.clear()
    await house.run()
    assert published(house) == {}


async def test_a_wrong_team_says_so_and_what_was_right_before_stays_in_use(house):
    await house.run()
    house.teams["default/acme"]["timeZone"] = "Europe/Berlim"
    done = (await house.run())["default/acme"]
    assert ready(done) == ("False", "SpecInvalid")
    assert "Europe/Berlim" in done.ready.message
    assert find(done.status["conditions"], "Stalled")
    assert published(house)["default/acme"].time_zone == "Europe/Berlin"


async def test_an_alias_of_two_is_told_to_both_and_both_stay_in_use(house):
    house.teams["other/ops"] = {"members": [{"name": "Ben", "emails": ["ANN@acme.example"]}]}
    done = await house.run()
    for place in house.teams:
        assert ready(done[place]) == ("False", "AliasTaken")
        assert done[place].ready.message == (
            'the e-mail address "ann@acme.example" is claimed by ann (GitPulseTeam default/acme) and '
            "ben (GitPulseTeam other/ops); it counts for the first of them"
        )
    assert set(published(house)) == set(house.teams)
    house.teams["other/ops"]["members"][0]["name"] = "ann"
    done = await house.run()
    assert {ready(done[place]) for place in house.teams} == {("True", "InUse")}


async def test_of_two_with_one_name_one_is_in_use(house):
    house.teams["other/acme"] = {"members": [{"name": "Mallory"}]}
    done = await house.run()
    assert ready(done["default/acme"]) == ("True", "InUse")
    assert ready(done["other/acme"]) == ("False", "NameTaken")
    assert set(published(house)) == {"default/acme"}
