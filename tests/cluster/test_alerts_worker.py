"""Faults of workers, of the backlog and of the database: see `test_alerts.py`."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import subprocess
import time

import pytest

from gitpulse_sim.deliver import Event
from gitpulse_sim.repository import Draft, Person
from harness.postgres import stopped
from harness.processes import SCRIPTS
from harness.watched import Terms

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NIGHT = 2 * 3600 + 41 * 60
"""When workers check, by their own clock."""


def test_a_worker_that_is_stopped(installation):
    def stop():
        installation.worker.stop()
        installation.place.simulator.push()

    alerts = "GitPulseWorkerDown", "GitPulseNothingCounted", "GitPulseBacklogOld"
    installation.fires(*alerts, cause=stop, cure=installation.worker.start)


@pytest.mark.parametrize("terms", [Terms(settings={"GITPULSE_MAX_BACKLOG_BYTES": str(1024**2)})], ids=["small"])
def test_a_backlog_that_is_almost_full(installation):
    simulator = installation.place.simulator
    author = Person("Bob Brandt", "bob@acme.example")

    def fill():
        """A character of the messages is half a byte when compressed."""
        installation.worker.stop()
        for _ in range(2):
            now, bob = simulator.world.clock.now(), simulator.world.user("bob")
            messages = [f"Change much\n\n{secrets.token_hex(45_000)}" for _ in range(10)]
            drafts = [Draft(message=it, author=author, at=now) for it in messages]
            simulator.run(simulator.forge.push(simulator.website, bob, "main", drafts))
            simulator.settle()

    alerts = "GitPulseBacklogNearLimit", "GitPulseBacklogGrowing"
    installation.fires(*alerts, cause=fill, cure=installation.worker.start)


def test_a_delivery_that_nobody_can_count(installation):
    simulator, (hook,) = installation.place.simulator, installation.place.hooks("website")
    odd = Event(toggle="push_events", data={"object_kind": "push", "project": "no object"})

    def drop():
        argv = [SCRIPTS / "gitpulse", "deadletters", "drop", "--yes", "--all"]
        env = {**os.environ, **installation.worker.environment}
        subprocess.run(argv, env=env, check=True, capture_output=True, timeout=60)

    send = lambda: simulator.run(simulator.forge.engine.send(hook, odd))  # noqa: E731
    installation.fires("GitPulseDeadLetters", cause=send, cure=drop)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("terms", [Terms(minute=5)], ids=["slower"])  # the worker's pauses are as long as ever
def test_a_database_that_is_stopped(installation, database):
    with contextlib.ExitStack() as away:

        def stop():
            away.enter_context(stopped(database[1]))
            for project in ("website", "api"):
                installation.place.simulator.push(project=f"acme/{project}")

        installation.fires("GitPulseDatabaseUnavailable", cause=stop, cure=away.close)


@pytest.mark.parametrize("terms", [Terms(minute=0.5, hour=30)], ids=["fast"])
def test_a_database_that_is_locked_for_a_while(installation, database):
    def lock():
        """Longer than the objective's 10 s."""
        with contextlib.closing(sqlite3.connect(database[1], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(12):
                installation.place.simulator.push()
            installation.until("max(gitpulse_backlog_oldest_seconds) > 10")

    alerts = "GitPulseCountedLateFastBurn", "GitPulseCountedLateSlowBurn"
    installation.fires(*alerts, cause=lock, cure=lambda: None)


@pytest.mark.parametrize("terms", [Terms(hour=0.5)], ids=["fast"])
def test_a_delivery_that_never_came(installation):
    simulator = installation.place.simulator

    def miss():
        """One alone is no reason for GitLab to switch the hook off, so nobody knows of it until the nightly check."""
        installation.receiver.kill()
        simulator.world.clock.advance(-7200)  # what has just happened may be on its way, and is no error
        simulator.push()
        simulator.world.clock.follow_wall()
        installation.receiver.start()
        installation.worker.stop()
        installation.worker.start(TZ=zone_in_which_it_is(NIGHT - 12))

    installation.fires("GitPulseCountError", cause=miss, cure=lambda: None)


def zone_in_which_it_is(seconds: int) -> str:
    """A time zone, as `TZ` has it, in which so much of the day has passed."""
    west = round(time.time() - seconds) % 86_400
    return f"LOCAL{west // 3600}:{west // 60 % 60:02}:{west % 60:02}"
