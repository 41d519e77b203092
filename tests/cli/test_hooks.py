"""`gitpulse hooks show`, `test`, `rotate` and `revive` over files: with an operator, a GitLab, a receiver at work."""

import asyncio
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_cli import asking
from gitpulse_operator.names import PROJECT, RECONCILE_REQUESTED
from gitpulse_operator.reconcile.resource import Resource
from gitpulse_sim.faults import Fault
from harness.command import looked_after
from harness.house import House
from harness.life import at_a_free_port, receiver_of
from harness.processes import SCRIPTS, wait_until


@pytest.fixture
def port(house: House):
    """Where the receiver will be."""
    house.settings["proof_patience"] = 0
    return at_a_free_port(house)


@pytest.fixture
def hooks(gitpulse, house):
    """`gitpulse hooks …` over the house's files."""
    return lambda *argv: gitpulse("hooks", *argv, "-f", house.manifests)


def status(house: House, name: str = "website"):
    return asyncio.run(house.run())[name].status


def test_all_that_is_known_is_shown(house, port, hooks, gitpulse):
    asyncio.run(house.run())
    with receiver_of(house, port):
        house.simulator.push()
    house.simulator.push()
    asyncio.run(house.run())
    (hook,) = house.hooks()
    whole = gitpulse.json("hooks", "show", "website", "-f", house.manifests)
    assert (whole["hook"], whole["instance"], whole["secret"]["phase"]) == (hook.id, house.simulator.url, "Stable")
    assert {c["type"]: c["reason"] for c in whole["conditions"]}["Delivering"] == "Proven"
    assert [row["status"] for row in whole["deliveries"]] == [None, 200], "the newest first, of GitLab's own log"
    assert house.public_url in whole["deliveries"][0]["url"]
    done = hooks("show", "default/website")
    assert done.code == 0
    for part in (f"hook {hook.id}", "state delivering", "Conditions", "Last deliveries, by GitLab's log"):
        assert part.split() in done.table
    assert "Receivers have taken authentic deliveries of this hook." in done.out
    assert hook.signing_token not in done.out


def test_a_gitlab_that_is_away_keeps_back_its_log_alone(house, hooks):
    asyncio.run(house.run())
    house.token = "wrong"
    house.write()
    done = hooks("show", "website")
    assert (done.code, ["state", "new"] in done.table) == (0, True)
    assert "GitLab's log of it cannot be read: " in done.err
    assert "Last deliveries" not in done.out
    folder = house.manifests.parent / "secrets"
    folder.mkdir()
    (folder / "gitlab-token").write_text(house.simulator.token)
    assert "cannot be read" not in hooks("show", "website", "--secrets", folder).err
    assert hooks("show", "website", "--deliveries", "0").err == ""


def test_a_test_is_delivered_and_noted_by_receivers(house, port, hooks, gitpulse, monkeypatch):
    house.simulator.push()
    asyncio.run(house.run())
    (hook,) = house.hooks()
    with receiver_of(house, port):
        done = hooks("test", "website")
        assert (done.code, done.table[1]) == (0, [str(hook.id), "acme/website", "push_events", "delivered"])
        monkeypatch.setenv("GITPULSE_REDIS_URL", house.redis_url)
        done = hooks("test", "website", "-o", "json")
        assert done.code == 0
        assert '"receivers": "accepted, by secret generation 1"' in done.out
        hook.signing_token = None
        done = hooks("test", "website", "-o", "yaml")
        assert done.code == 1
        assert "receivers: 'refused: signature_required'" in done.out
    done = hooks("test", "website")
    assert done.code == 1
    assert "failed" in done.out
    assert "nothing came" in done.out


@pytest.mark.parametrize(
    ("argv", "says", "code"),
    [
        (["test", "lost"], "GitPulseProject default/lost has no hook in GitLab yet; `gitpulse status` says why", 2),
        (["test", "website", "--trigger", "rain"], "GitLab makes no test of rain; it does of push_events, ", 2),
        (["test", "website", "--trigger", "releases_events"], "impossible", 1),
        (["show", "web"], "there is no GitPulseProject default/web; did you mean default/website?", 2),
        (["rotate"], "name GitPulseProjects, or a GitLabConnection with --connection, or say --all", 2),
        (["rotate", "website", "--all"], "name GitPulseProjects, or a GitLabConnection", 2),
        (["rotate", "--connection", "gitla"], "no GitLabConnection default/gitla; did you mean default/gitlab?", 2),
        (["rotate", "brought"], "its secret is brought, `secret.secretRef`; change that Secret", 2),
        (["revive", "asleep"], "is suspended: set `suspend: false` first", 2),
        (["rotate", "website", "asleep"], "it is suspended", 2),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_with_what_to_do(house, hooks, argv, says, code):
    house.projects["lost"] = house.project(project="acme/nowhere")
    house.projects["brought"] = house.project(project="acme/api", secret={"secretRef": {"name": "own"}})
    house.projects["asleep"] = house.project(project="acme/api", suspend=True)
    asyncio.run(house.run())
    done = hooks(*argv)
    assert done.code == code
    assert says in done.out + done.err
    assert not (house.state.parent / "requests.json").exists(), "nothing was asked for"


def test_a_rotation_is_followed_until_the_new_secret_is_proven(house, port, hooks):
    house.simulator.push()
    asyncio.run(house.run())
    with receiver_of(house, port), looked_after(house):
        done = hooks("rotate", "website", "--wait", "--timeout", "30")
    assert (done.code, done.out) == (0, ""), done.err
    assert done.err.startswith("asked for 1 new secrets\n")
    assert "default/website: generation 2 is in use (Proven); the old one is accepted until" in done.err
    assert status(house)["secret"]["generation"] == 2


@pytest.mark.parametrize("which", [["--connection", "gitlab"], ["--all"]])
def test_all_of_a_connection_are_rotated_and_the_others_named(house, port, hooks, which):
    house.simulator.push()
    house.simulator.push(project="acme/api")
    house.connection["requestsPerSecond"] = 1000
    house.projects["api"] = house.project(project="acme/api")
    house.projects["asleep"] = house.project(project="acme/api", suspend=True)
    asyncio.run(house.run())
    with receiver_of(house, port), looked_after(house):
        done = hooks("rotate", *which, "--wait", "--timeout", "30")
    assert done.code == 0, done.err
    assert "default/asleep is left out: it is suspended" in done.err
    assert "asked for 2 new secrets" in done.err
    assert status(house)["secret"]["generation"] == status(house, "api")["secret"]["generation"] == 2


def test_all_hooks_of_a_group_are_rotated_together(house, port, hooks, gitpulse):
    house.simulator.world.instance.tier = "free"
    house.projects = {"acme": house.project(group="acme")}
    for project in ("acme/website", "acme/api"):
        house.simulator.push(project=project)
    asyncio.run(house.run())
    with receiver_of(house, port), looked_after(house):
        done = hooks("rotate", "acme", "--wait", "--timeout", "30")
        assert done.code == 0, done.err
    assert "default/acme: generation 2 is in use (Proven)" in done.err
    rows = gitpulse.json("hooks", "list", "-f", house.manifests)
    assert [(row["target"], row["generation"]) for row in rows] == [("acme/api", 2), ("acme/website", 2)]


def test_nobody_who_answers_is_said_when_time_is_up(house, hooks):
    asyncio.run(house.run())
    done = hooks("rotate", "website", "--wait", "--timeout", "0")
    assert done.code == 1
    assert "1 of 1 not done after 0 s: default/website: the operator has not answered yet; is it running?" in done.err
    assert hooks("rotate", "website").code == 0, "without --wait it is only asked for"


def test_who_waits_no_longer_ends_it_without_a_fuss(house, tmp_path):
    asyncio.run(house.run())
    argv = [SCRIPTS / "gitpulse", "hooks", "revive", "website", "--wait", "-f", house.manifests]
    with (tmp_path / "said").open("w") as said, subprocess.Popen(argv, stdout=said, stderr=said) as process:
        wait_until((house.state.parent / "requests.json").exists, what="the request")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert "Traceback" not in (tmp_path / "said").read_text()


def test_a_hook_that_gitlab_has_switched_off_is_revived(house, port, hooks):
    house.simulator.world.instance.auto_disabling = True
    house.simulator.push()
    asyncio.run(house.run())
    (hook,) = house.hooks()
    hook.recent_failures, hook.disabled_until = 40, datetime.now(UTC) + timedelta(hours=3)
    assert status(house)["hooks"]["disabled"] == 1
    assert ["default/website", "acme/website", str(hook.id), "disabled", "HookDisabled"] == hooks("list").table[1][:5]
    house.annotations["website"] = {RECONCILE_REQUESTED: "once"}
    asked = asyncio.run(house.run())["website"]
    done, text = asking.revived("once", Resource.from_body({"kind": PROJECT, "metadata": {}, "status": asked.status}))
    assert not done, "it was looked at, and is still off"
    assert "It is revived once a receiver is up." in text
    done = hooks("revive", "website", "--wait", "--timeout", "0")
    assert done.code == 1
    with receiver_of(house, port), looked_after(house):
        done = hooks("revive", "website", "--wait", "--timeout", "30")
    assert done.code == 0, done.err
    assert "default/website: Receivers have taken authentic deliveries of this hook." in done.err
    assert hook.disabled_until is None


def test_a_stuck_rotation_ends_the_wait_with_what_is_missing(house, port, hooks):
    house.settings["rotation_deadline"] = 0.01
    house.simulator.push()
    asyncio.run(house.run())
    house.simulator.world.faults.append(Fault(method="POST", path="*/test/*", status=500, count=-1))
    with receiver_of(house, port), looked_after(house):
        done = hooks("rotate", "website", "--wait", "--timeout", "30")
    assert done.code == 1
    assert "That takes too long" in done.err
