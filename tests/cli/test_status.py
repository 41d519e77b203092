"""`gitpulse status`: what it shows, and when it says that a person is needed."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_cli.status import problems
from gitpulse_operator.reconcile.resource import Resource
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.life import at_a_free_port, receiver_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def condition(kind, status, reason, minutes):
    since = f"{NOW - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
    return {"type": kind, "status": status, "reason": reason, "message": "So it is.", "lastTransitionTime": since}


def found(*conditions, created=0, **status):
    made = f"{NOW - timedelta(minutes=created):%Y-%m-%dT%H:%M:%SZ}"
    meta = {"name": "website", "namespace": "web", "creationTimestamp": made}
    status["conditions"] = list(conditions)
    it = Resource.from_body({"kind": "GitPulseProject", "metadata": meta, "status": status})
    return [(problem.reason, problem.person) for problem in problems(it, NOW)]


READY = condition("Ready", "True", "Installed", 0)


def broken(minutes, *more):
    return [condition("Ready", "False", "RateLimited", minutes), *more]


@pytest.mark.parametrize(
    ("conditions", "status", "expected"),
    [
        ([READY], {}, []),
        ([condition("Ready", "Unknown", "Suspended", 99)], {}, []),
        (broken(1), {}, [("RateLimited", True)]),
        (broken(14, condition("Reconciling", "True", "RateLimited", 14)), {}, [("RateLimited", False)]),
        (broken(16, condition("Reconciling", "True", "RateLimited", 16)), {}, [("RateLimited", True)]),
        (broken(1, condition("Stalled", "True", "RateLimited", 1)), {}, [("RateLimited", True)]),
        ([READY, condition("SecretCurrent", "False", "RotationStuck", 1)], {}, [("RotationStuck", True)]),
        ([READY], {"repair": {"backfill": {"state": "Failed", "message": "no"}}}, [("GapNotFilled", True)]),
        ([READY], {"tokenExpiresAt": "2026-05-14T00:00:00Z"}, [("TokenExpires", True)]),
        ([READY], {"tokenExpiresAt": "2026-05-16T00:00:00Z"}, []),
        ([], {"created": 14}, [("NotReconciled", False)]),
        ([], {"created": 16}, [("NotReconciled", True)]),
    ],
)
def test_what_needs_a_person_and_what_may_pass(conditions, status, expected):
    assert found(*conditions, **status) == expected


def test_all_is_well(gitpulse, house):
    asyncio.run(house.run())
    done = gitpulse("status", "-f", house.manifests)
    assert (done.code, done.err) == (0, "nothing needs a person\n")
    assert "projects    1 total, 1 ready, 0 not ready, 0 unknown\n" in done.out
    assert "deliveries  not looked at, for want of GITPULSE_REDIS_URL" in done.out
    assert "Not as it should be" not in done.out
    whole = gitpulse.json("status", "-f", house.manifests)
    assert (whole["ok"], whole["problems"], whole["rotations"], whole["repairs"]) == (True, [], [], [])
    assert whole["hooks"] == {"desired": 1, "installed": 1, "delivering": 0, "disabled": 0, "failing": 0}
    (connection,) = whole["connections"]
    assert (connection["connection"], connection["url"]) == ("default/gitlab", house.simulator.url)
    assert (connection["ready"], connection["version"]) == ("True", house.simulator.world.instance.version)


def test_what_is_wrong_is_said_in_words(gitpulse, house):
    house.projects["lost"] = house.project(project="acme/nowhere")
    asyncio.run(house.run())
    done = gitpulse("status", "-f", house.manifests)
    assert (done.code, done.err) == (1, "1 of these need a person\n")
    (row,) = [line for line in done.out.splitlines() if "default/lost" in line]
    assert 'has no project "acme/nowhere", or the token cannot see it' in row
    assert gitpulse("status", "-f", house.manifests, "-o", "json").code == 1


def test_what_nobody_looks_after_is_said(gitpulse, house):
    house.write()
    done = gitpulse("status", "-f", house.manifests)
    assert done.code == 1
    assert "is an operator running" in done.out


def test_rotations_under_way_are_shown(gitpulse, house):
    house.settings["proof_patience"] = 0
    port = at_a_free_port(house)
    house.simulator.push()
    asyncio.run(house.run())
    gitpulse("hooks", "rotate", "website", "-f", house.manifests)
    with receiver_of(house, port):
        asyncio.run(house.run())
    (rotation,) = gitpulse.json("status", "-f", house.manifests)["rotations"]
    assert (rotation["project"], rotation["phase"]) == ("default/website", "Proven")
    assert "Rotations under way" in gitpulse("status", "-f", house.manifests).out


@pytest.mark.parametrize("written", [False, True])
def test_deliveries_that_wait_and_dead_letters(gitpulse, house, service_environment, monkeypatch, written):
    for name, value in service_environment.items():
        monkeypatch.setenv(name, value)
    asyncio.run(house.run())

    async def fill():
        log = open_log(os.environ["GITPULSE_REDIS_URL"], partitions=16)
        await log.append([envelope("one"), envelope("two")])
        await log.bury_unread(envelope("three", body=b"{"), "not_json")
        await log.aclose()

    asyncio.run(fill())
    if written:  # as `gitpulse up` does it
        monkeypatch.delenv("GITPULSE_REDIS_URL")
        house.state.with_name("env").write_text(f"GITPULSE_REDIS_URL='{service_environment['GITPULSE_REDIS_URL']}'\n")
    whole = gitpulse.json("status", "-f", house.manifests)
    assert whole["deliveries"] == {"waiting": 2, "dead_letters": 1}
    assert [(it["reason"], it["person"]) for it in whole["problems"]] == [("DeadLetters", True)]
    monkeypatch.setenv("GITPULSE_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    done = gitpulse("status", "-f", house.manifests)
    assert done.code == 1
    assert "Redis cannot be used" in done.out
    assert "hunter2" not in done.out
