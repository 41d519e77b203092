"""What Prometheus is told of all resources: counts and the nearest dates, never a resource's name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.resource import Ref, Resource
from gitpulse_operator.reconcile.tally import STATES, Tally
from harness.life import Life, at_a_free_port

SPEC = {"connectionRef": {"name": "gitlab"}, "project": "acme/website"}
ROTATED = datetime(2026, 11, 1, tzinfo=UTC)
SECRET = {"generation": 1, "type": "Token", "phase": "Stable", "rotatedAt": "2026-11-01T00:00:00Z"}


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"gitpulse_{name}", labels)


def due() -> datetime | None:
    seconds = sample("secret_rotation_due_timestamp_seconds")
    assert seconds is not None
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def states(kind: str = PROJECT) -> dict[str, float]:
    found = {state: sample("resources", kind=kind, state=state) for state in STATES}
    return {state: number for state, number in found.items() if number}


def resource(name: str = "website", kind: str = PROJECT, **spec: object) -> Resource:
    return Resource(Ref(kind, "default", name), "uid", 1, {**SPEC, **spec}, {}, {}, None, held=True)


def conditions(**statuses: str) -> dict[str, object]:
    return {"conditions": [{"type": kind, "status": status, "reason": "R"} for kind, status in statuses.items()]}


@pytest.fixture
def tally():
    tally = Tally()
    for each in (resource(), resource("other"), resource("gitlab", CONNECTION)):
        tally.note(each, {})
    yield tally
    for each in (resource(), resource("other"), resource("gitlab", CONNECTION)):
        tally.forget(each.ref)


def test_resources_are_counted_by_what_their_conditions_say(tally):
    assert states() == {"other": 2}
    tally.note(resource(), conditions(Ready="True"))
    tally.note(resource("other"), conditions(Ready="False", Reconciling="True"))
    assert states() == {"ready": 1, "reconciling": 1}
    tally.note(resource("other"), conditions(Ready="False", Stalled="True"))
    tally.note(resource("other"), conditions(Ready="False", Stalled="True"))
    assert states() == {"ready": 1, "stalled": 1}
    assert states(CONNECTION) == {"other": 1}
    tally.note(resource(), conditions(Ready="Unknown"))
    tally.forget(resource("other").ref)
    assert states() == {"other": 1}


def test_the_secret_that_is_due_first_is_told(tally):
    assert due() is None
    tally.note(resource(), {"secret": SECRET})
    assert due() == ROTATED + timedelta(days=90)
    tally.note(resource("other", secret={"rotationInterval": "240h"}), {"secret": SECRET})
    assert due() == ROTATED + timedelta(days=10)
    tally.note(resource("other", secret={"rotationInterval": "240h"}), {"secret": {**SECRET, "rotatedAt": None}})
    assert due() == ROTATED + timedelta(days=90)
    tally.forget(resource().ref)
    assert due() is None


@pytest.mark.parametrize(
    "spec",
    [
        {"secret": {"rotationInterval": "0s"}},
        {"secret": {"secretRef": {"name": "mine", "key": "token"}}},
        {"suspend": True},
        {"adoptionPolicy": "Observe"},
        {"events": "wrong"},
    ],
)
def test_what_age_does_not_rotate_is_never_due(tally, spec):
    tally.note(resource(**spec), {"secret": SECRET})
    assert due() is None


def test_a_token_that_never_expires_has_no_date(tally):
    labels = {"connection": "default/gitlab"}
    connection = resource("gitlab", CONNECTION)
    tally.note(connection, {"tokenExpiresAt": "2026-12-24T00:00:00Z"})
    when = sample("gitlab_token_expires_timestamp_seconds", **labels)
    assert when == datetime(2026, 12, 24, tzinfo=UTC).timestamp()
    tally.note(connection, {})
    assert sample("gitlab_token_expires_timestamp_seconds", **labels) is None
    tally.note(connection, {"tokenExpiresAt": "2026-12-24T00:00:00Z"})
    tally.forget(connection.ref)
    assert sample("gitlab_token_expires_timestamp_seconds", **labels) is None


async def test_runs_keep_it(house):
    expires = date(2999, 1, 31)
    house.simulator.world.tokens[house.token].expires_at = expires
    async with Life.begun(house) as life:
        midnight = datetime(expires.year, expires.month, expires.day, tzinfo=UTC).timestamp()
        assert sample("gitlab_token_expires_timestamp_seconds", connection="default/gitlab") == midnight
        assert states() == {"ready": 1}
        assert states(CONNECTION) == {"ready": 1}
        there = due()
        assert there is not None
        assert abs(there - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)
        house.simulator.world.projects.clear()
        await life.run()
        assert states() == {"stalled": 1}


async def test_a_hook_that_is_off_for_good_is_told_from_one_that_is_off_for_a_while(house):
    house.simulator.world.instance.auto_disabling = True
    at_a_free_port(house)
    async with Life.begun(house) as life:
        (hook,) = house.hooks()
        hook.recent_failures, hook.disabled_until = 4, datetime.now(UTC) + timedelta(hours=1)
        await life.run()
        await life.news.look()
        assert (sample("hooks", state="disabled"), sample("hooks", state="disabled_for_good")) == (1, 0)
        hook.recent_failures = 40
        await life.run()
        await life.news.look()
        assert (sample("hooks", state="disabled"), sample("hooks", state="disabled_for_good")) == (1, 1)
        hook.recent_failures, hook.disabled_until = 0, None
        await life.run()
        await life.news.look()
        assert (sample("hooks", state="disabled"), sample("hooks", state="disabled_for_good")) == (0, 0)
