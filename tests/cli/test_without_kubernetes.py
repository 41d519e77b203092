"""compose.yaml and the systemd unit: their words are right, and what they run does what they are for.

Neither Docker nor an init is needed: the commands run as they stand there, with this machine's places in theirs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.settings import ServiceSettings
from harness.front import program
from harness.images import ours
from harness.one_machine import GITPULSE, one_machine
from harness.postgres import postgres_server
from harness.processes import SCRIPTS, answers, free_port, running

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "examples/compose/compose.yaml"
UNIT = ROOT / "examples/systemd/gitpulse.service"
PARTS = ("receiver", "worker", "operator")
VARIABLE = re.compile(r"\$\{(\w+)(?::[-?][^}]*)?\}")


@pytest.fixture
def machine(tmp_path, simulator):
    with one_machine(tmp_path / "d", simulator) as machine:
        yield machine


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return made


def test_compose_knows_every_word_of_it():
    argv = [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_compose_gives_settings_that_there_are_and_images_that_the_chart_has(compose):
    services = compose["services"]
    known = {f"GITPULSE_{name.upper()}" for kind in (ServiceSettings, OperatorSettings) for name in kind.model_fields}
    assert {name for part in PARTS for name in services[part]["environment"]} <= known
    values = yaml.safe_load((ROOT / "charts/gitpulse/values.yaml").read_text())
    images = {
        "redis": values["redis"]["bundled"]["image"],
        "postgres": values["database"]["bundled"]["image"],
        "operator": ours("operator"),
        **dict.fromkeys(("receiver", "worker"), ours("service")),
    }
    assert {name: service["image"] for name, service in services.items()} == images
    documents = list(yaml.safe_load_all((COMPOSE.parent / "resources/gitpulse.yaml").read_text()))
    assert documents[0]["spec"]["tokenSecretRef"]["name"] in compose["secrets"]


def test_what_compose_runs_counts_a_push(compose, machine, redis_url, tmp_path):
    machine.write()
    with contextlib.ExitStack() as parts:
        database, _ = parts.enter_context(postgres_server())
        given = {
            "GITPULSE_INSTALLATION_KEY": "A" * 43 + "=",
            "GITPULSE_PUBLIC_URL": machine.url,
            "POSTGRES_PASSWORD": "x",
        }
        places = {"redis://redis:6379/0": redis_url, "postgresql://gitpulse:x@postgres:5432/gitpulse": database}
        places |= {"/etc/gitpulse": machine.folder, "/var/lib/gitpulse": machine.state, "/run/secrets": machine.tokens}
        places |= {"0.0.0.0": "127.0.0.1"}

        def here(text: str) -> str:
            said = VARIABLE.sub(lambda found: given[found[1]], text)
            return str(places.get(said, said))

        for name in PARTS:
            service, metrics = compose["services"][name], free_port()
            argv = [*GITPULSE, *map(here, service["command"]), "--metrics-port", str(metrics)]
            argv += ["--port", str(machine.port)] if name == "receiver" else []
            env = {variable: here(value) for variable, value in service["environment"].items()}
            env |= {"GITPULSE_BACKFILL_DAYS": "0"}
            ready = lambda metrics=metrics: answers(metrics)  # noqa: E731
            parts.enter_context(running(argv, log=tmp_path / f"{name}.log", ready=ready, env=env))
        machine.hook()
        machine.simulator.push()
        (token, *_) = _typed("tokens", "create", "me", env={"GITPULSE_DATABASE_URL": database}).split()
        machine.token = token
        machine.awaits(1)


def _typed(*words: str, env: dict[str, str]) -> str:
    return subprocess.run(
        [*GITPULSE, *words], check=True, capture_output=True, text=True, env={**os.environ, **env}
    ).stdout


# --- systemd ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def unit(tmp_path) -> Path:
    """The unit with our own program, for systemd looks whether it is there."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/gitpulse/bin/gitpulse", str(SCRIPTS / "gitpulse")))
    return copy


def test_systemd_understands_the_unit_and_finds_it_confined(unit):
    analyze = program("systemd-analyze")
    done = subprocess.run([analyze, "verify", "--man=no", unit], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    argv = [analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_the_unit_runs_counts_a_push_and_ends_as_systemd_ends_it(machine):
    settings = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"\w+=.", line))
    assert settings["KillMode"] == "mixed", "else Redis ends before those who need it"
    credential, _, file = settings["LoadCredential"].partition(":")
    assert (machine.tokens / credential).exists()
    assert file.startswith("/etc/gitpulse/")
    places = {"%S/gitpulse": machine.state, "%d": machine.tokens, "/etc/gitpulse": machine.folder}
    argv = [str(places.get(word, word)) for word in shlex.split(settings["ExecStart"])[1:]]
    machine.write()
    machine.start(*argv)
    machine.hook()
    machine.simulator.push()
    machine.awaits(1)
    assert machine.stop() == 0


def test_the_page_says_the_same(compose):
    page = (ROOT / "docs/without-kubernetes.md").read_text()
    for name in VARIABLE.findall(COMPOSE.read_text()):
        assert name in page, f"{name} is asked for, and not explained"
    for place in ("/etc/gitpulse/environment", "/etc/gitpulse/gitlab-token"):
        assert place in UNIT.read_text()
        assert place in page
