"""`gitpulse up`: everything on one machine, from files. Real processes, a real Redis, a simulated GitLab."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_sim.faults import Fault
from harness.one_machine import GITPULSE, PROGRAMS, one_machine
from harness.processes import free_port, wait_until


@pytest.fixture
def machine(tmp_path, simulator):
    with one_machine(tmp_path / "d", simulator) as machine:
        yield machine


def test_from_an_empty_folder_to_numbers_and_over_a_restart(machine):
    machine.start()  # over nothing
    machine.write()
    hook = machine.hook()
    machine.simulator.push()
    machine.awaits(1)
    kept = {file.name: stat.S_IMODE(file.stat().st_mode) for file in machine.state.iterdir()}
    assert stat.S_IMODE(machine.state.stat().st_mode) == 0o700
    assert {kept[name] for name in ("installation.key", "state.json", "env")} == {0o600}

    second = subprocess.run(machine.command(), env=machine.environment(), check=False, capture_output=True, text=True)
    assert second.returncode == 1
    assert "is in use" in second.stderr

    env = f"set -a; . {machine.state}/env; exec {' '.join(machine.command()[:3])} deadletters list"
    other = subprocess.run(["/bin/sh", "-c", env], check=False, capture_output=True, text=True)
    assert other.returncode == 0, other.stderr

    healthy = [*GITPULSE, "doctor", "-f", machine.folder, "--secrets", machine.tokens, "--no-test"]
    other = subprocess.run(healthy, check=False, capture_output=True, text=True)
    assert (other.returncode, "nothing is wrong" in other.stdout) == (0, True), other.stdout + other.stderr

    before = hook.id, hook.url, hook.token, hook.signing_token
    programs = machine.children()
    assert set(programs) == set(PROGRAMS)
    assert machine.stop() == 0, machine.said()
    assert not any(_lives(program) for program in programs.values())

    machine.simulator.push()  # nobody is there
    machine.start()
    machine.awaits(2)
    machine.simulator.push()
    machine.awaits(3)
    again = machine.hook()
    assert (again.id, again.url, again.token, again.signing_token) == before
    assert [row.status for row in again.log.rows][0::2] == [200, 200], "GitLab has sent the second one again"
    for line in machine.said().splitlines():
        assert json.loads(line)["level"] in ("info", "warning"), "one object a line, where no terminal is"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_that_is_killed_is_started_again(machine):
    machine.write()
    machine.start()
    machine.hook()
    for count, name in enumerate(("receiver", "worker", "redis"), 1):
        machine.simulator.push()
        machine.awaits(2 * count - 1)
        program = machine.children()[name]
        os.kill(program, signal.SIGKILL)
        wait_until(lambda: machine.children().get(name, program) != program, what=f"another {name}")  # noqa: B023
        assert f"{name} has ended with -9" in machine.said()
        wait_until(machine.is_ready, what="a receiver that is ready")
        machine.simulator.push()
        machine.awaits(2 * count)
    assert [row.status for row in machine.hook().log.rows] == [200] * 6


def test_what_fails_while_it_is_dead_is_sent_again_and_what_gitlab_drops_is_fetched(machine):
    machine.simulator.world.instance.auto_disabling = True
    machine.write()
    machine.start()
    hook = machine.hook()
    machine.simulator.push()
    machine.awaits(1)
    before = hook.url, hook.token, hook.signing_token
    machine.kill()
    for _ in range(6):
        machine.simulator.push()
    assert hook.alert_status(machine.simulator.world.instance, datetime.now(UTC)) == "temporarily_disabled"
    assert sum(hook.dropped.values()) == 2
    machine.start()
    wait_until(lambda: machine.condition("Delivering") == ("True", "Proven"), what="a hook that is on", timeout=40)
    machine.awaits(7, "commits")
    assert hook.alert_status(machine.simulator.world.instance, datetime.now(UTC)) == "executable"
    assert (hook.url, hook.token, hook.signing_token) == before


def test_secrets_are_rotated_on_request_and_by_age_and_no_delivery_is_refused(machine):
    for name in ("website", "api"):
        machine.write(name, secret={"rotationInterval": "1h", "overlap": "1m"})
    machine.start()
    secrets = {name: machine.hook(name).signing_token for name in ("website", "api")}
    machine.stop()
    state = machine.state / "state.json"
    kept = json.loads(state.read_text())
    old = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept["GitPulseProject/default/api"]["status"]["secret"]["rotatedAt"] = old
    state.write_text(json.dumps(kept))
    machine.start()
    wait_until(lambda: machine.said().count("all routes are published") == 2, what="an operator at work")
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            for name in secrets:
                machine.simulator.push(project=f"acme/{name}")

    sender = threading.Thread(target=send)
    sender.start()
    try:
        asked = {"GitPulseProject/default/website": {"gitpulse.io/rotate-requested-at": "now"}}
        (machine.state / "requests.json").write_text(json.dumps(asked))
        for name, secret in secrets.items():
            wait_until(lambda: machine.entry(name)["status"]["secret"].get("phase") == "Proven", what=name)  # noqa: B023
            assert machine.hook(name).signing_token != secret
    finally:
        done.set()
        sender.join()
    for name in secrets:
        rows = machine.hook(name).log.rows
        assert {row.status for row in rows} == {200}
        machine.awaits(len(rows), project=name)


def test_files_are_taken_up_as_they_change(machine):
    machine.write()
    machine.write("api")
    machine.start()
    website, api = machine.hook(), machine.hook("api")

    machine.write(events=["Issue"])
    wait_until(lambda: website.events == {"issues_events"}, what="other events", timeout=5)

    (machine.folder / "website.yaml").write_text("kind: GitPulseProject\nmetadata: {name: [\n")
    (machine.folder / "api.yaml").unlink()
    wait_until(lambda: "all is looked after as it was before" in machine.said(), what="what is wrong", timeout=5)
    assert (machine.hooks(), machine.hooks("api")) == ([website], [api]), "nothing goes while a file cannot be read"

    machine.write()
    wait_until(lambda: website.events >= {"push_events", "issues_events"}, what="the events as before", timeout=5)
    wait_until(lambda: not machine.hooks("api"), what="no hook of a file that is gone", timeout=5)
    wait_until(lambda: machine.entry("api") == {}, what="nothing kept of it, a moment after its hook", timeout=5)

    files = {file: file.read_text() for file in machine.folder.glob("*.yaml")}
    for file in files:
        file.unlink()
    wait_until(lambda: "no resource is there any more" in machine.said(), what="what is wrong", timeout=5)
    assert machine.hooks() == [website]
    for file, text in files.items():
        file.write_text(text.replace("GitPulseProject", "GitPulseProjekt"))
    wait_until(lambda: "there is no kind GitPulseProjekt" in machine.said(), what="what is wrong", timeout=5)
    assert machine.hooks() == [website]
    for file, text in files.items():
        file.write_text(text)

    machine.write("api")
    assert machine.hook("api").id != api.id
    (machine.tokens / "gitlab-token").write_text("wrong")
    wait_until(lambda: machine.condition("CredentialsValid")[0] == "False", what="a token that is wrong", timeout=10)
    (machine.tokens / "gitlab-token").write_text(machine.simulator.token)
    wait_until(lambda: machine.condition("Ready")[0] == "True", what="the right one again", timeout=10)


def test_wrong_files_at_the_start_are_waited_for_and_hooks_deliver_meanwhile(machine):
    machine.write()
    machine.start()
    machine.hook()
    machine.stop()
    (machine.folder / "website.yaml").write_text("[")
    machine.start()
    wait_until(lambda: "nothing is looked after until this is put right" in machine.said(), what="what is wrong")
    wait_until(machine.is_ready, what="a receiver with the hooks of before")
    machine.simulator.push()
    machine.awaits(1)
    machine.write(events=["Push"])
    wait_until(lambda: machine.hooks()[0].events == {"push_events"}, what="the file that is right again")


def test_a_file_that_comes_back_while_its_hook_cannot_be_removed_is_looked_after_again(machine):
    machine.write()
    machine.write("api")
    machine.start()
    hook, api = machine.hook(), machine.hook("api")
    away = Fault(status=502, count=-1, path="*/hooks*")
    machine.simulator.world.faults.append(away)
    for name in ("website", "api"):
        (machine.folder / f"{name}.yaml").unlink()
    wait_until(lambda: machine.said().count("CleanupDelayed") == 2, what="two that wait")
    machine.write()
    wait_until(lambda: "GitLabUnavailable" in machine.condition("Ready"), what="a run over it")
    assert (machine.hooks(), machine.hooks("api")) == ([hook], [api])

    machine.kill()
    machine.simulator.world.faults.remove(away)
    machine.start()
    wait_until(lambda: not machine.hooks("api"), what="the other one gone, by whoever comes next")
    assert machine.hook() == hook
    machine.write(events=["Issue"])
    wait_until(lambda: hook.events == {"issues_events"}, what="other events", timeout=5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda argv: [word for word in argv if "http" not in word and word != "--public-url"], "--public-url"),
        (lambda argv: [*argv, "--port", "PORT"], "choose another --host, --port or --metrics-port"),
        (lambda argv: [*argv, "--state", argv[argv.index("-f") + 1] + "/long" * 20], "too long a name"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(machine, simulator, change, said):
    taken = simulator.url.rpartition(":")[2]
    argv = [taken if word == "PORT" else word for word in change(machine.command())]
    done = subprocess.run(argv, env=machine.environment(), check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_operator_alone_over_a_folder(machine, redis_url):
    machine.write()
    env = {
        **machine.environment(),
        "GITPULSE_REDIS_URL": redis_url,
        "GITPULSE_PUBLIC_URL": machine.url,
        "GITPULSE_INSTALLATION_KEY": "A" * 43 + "=",
    }
    argv = ["operator", "-f", str(machine.folder), "--secrets", str(machine.tokens), "--metrics-port", str(free_port())]
    with machine.log.open("ab") as output:
        machine.process = subprocess.Popen([*machine.command()[:3], *argv], env=env, stdout=output, stderr=output)
    machine.hook()
    assert machine.stop() == 0
