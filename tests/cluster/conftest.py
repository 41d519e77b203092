"""The operator on a real Kubernetes API, under the rights that it ships with, against the GitLab simulator."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from gitpulse_sim.hook import Hook
from harness.controlplane import ROOT, ControlPlane
from harness.postgres import postgres_server
from harness.processes import SCRIPTS, answers, free_port, running
from harness.redis import RedisServer
from harness.simulator import Simulator, running_simulator
from harness.watched import Installation, Program, Terms

INSTALLATION_KEY = bytes(range(32))
PUBLIC_URL = "https://gitpulse.example.com"
SYSTEM = "gitpulse-system"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running_simulator() as running:
        yield running


@dataclass(frozen=True)
class Operator:
    """How to run the operator: as a program of its own, with a ServiceAccount's token."""

    kubeconfig: Path
    redis_url: str
    log: Path

    @property
    def shared(self) -> dict[str, str]:
        """The settings that receivers and workers must have too."""
        key = base64.b64encode(INSTALLATION_KEY).decode()
        return {"GITPULSE_REDIS_URL": self.redis_url, "GITPULSE_INSTALLATION_KEY": key}

    def of(self, namespace: str) -> dict[str, str]:
        """All settings of one that looks after a namespace."""
        return {
            **self.shared,
            "KUBECONFIG": str(self.kubeconfig),
            "GITPULSE_PUBLIC_URL": PUBLIC_URL,
            "GITPULSE_METRICS_PORT": "0",
            "GITPULSE_WATCH_NAMESPACES": namespace,
        }

    @contextlib.contextmanager
    def one_of_many(self, namespace: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs `gitpulse operator` for a namespace with more settings, until the block ends."""
        port = int(environment.get("GITPULSE_LIVENESS_PORT") or free_port())
        settings = {**self.of(namespace), "GITPULSE_LIVENESS_PORT": str(port), **environment}
        argv = [SCRIPTS / "gitpulse", "operator"]
        with running(argv, log=self.log, ready=lambda: answers(port), env=settings) as process:
            yield process

    @contextlib.contextmanager
    def running(self, public_url: str = PUBLIC_URL, **settings: str) -> Iterator[None]:
        """Runs `kopf run -m gitpulse_operator.main` until the block ends."""
        port = free_port()
        environment = {
            **self.shared,
            "KUBECONFIG": str(self.kubeconfig),
            "GITPULSE_PUBLIC_URL": public_url,
            "GITPULSE_METRICS_PORT": "0",
            **settings,
        }
        argv = [SCRIPTS / "kopf", "run", "-m", "gitpulse_operator.main", "-A", "--standalone"]
        argv += [f"--liveness=http://127.0.0.1:{port}/healthz"]
        with running(argv, log=self.log, ready=lambda: answers(port), env=environment):
            yield


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, redis_process: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Operator:
    """The operator, not running yet, with an empty Redis."""
    with redis_client.Redis.from_url(redis_process.url) as client:
        client.flushall()
    if control_plane.try_kubectl("get", "namespace", SYSTEM).returncode:
        control_plane.kubectl("create", "namespace", SYSTEM)
    kubeconfig = control_plane.kubeconfig_for("gitpulse-operator", SYSTEM, ROOT / "operator" / "rbac.yaml")
    return Operator(kubeconfig, redis_process.url, tmp_path_factory.mktemp("operator") / "operator.log")


@dataclass(frozen=True)
class Place:
    """A namespace of its own, and the examples, whose connection points to the simulator."""

    plane: ControlPlane
    simulator: Simulator
    namespace: str
    examples: Path

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        return self.plane.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def apply_examples(self) -> None:
        self.kubectl("apply", "-f", self.examples)

    def wait(self, resource: str, condition: str = "Ready", value: str = "true") -> None:
        """`kubectl wait`, as a person would."""
        self.kubectl("wait", f"--for=condition={condition}={value}", resource, "--timeout=30s")

    def patch(self, resource: str, patch: dict[str, Any], *options: str) -> None:
        self.kubectl("patch", resource, *options, "--type=merge", "-p", json.dumps(patch))

    def get(self, resource: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", resource, "-o", "json"))
        return found

    def condition(self, resource: str, kind: str) -> dict[str, Any]:
        """One condition of a resource; empty if it is not there."""
        conditions = self.get(resource).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def hooks(self, name: str, project: str = "acme/website") -> list[Hook]:
        """The hooks in GitLab that are this resource's, by their name."""
        ours = f": {self.namespace}/{name}"
        return [
            hook for hook in list(self.simulator.world.project(project).hooks.values()) if str(hook.name).endswith(ours)
        ]


@pytest.fixture
def place(control_plane: ControlPlane, simulator: Simulator, tmp_path: Path) -> Place:
    examples = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", examples)
    connection = examples / "connection.yaml"
    text = connection.read_text()
    assert "url: http://127.0.0.1:8929 " in text
    connection.write_text(text.replace("http://127.0.0.1:8929", simulator.url))
    return Place(control_plane, simulator, control_plane.namespace("cluster"), examples)


# --- an installation that Prometheus watches --------------------------------------------------------------------------


@pytest.fixture
def terms() -> Terms:
    """The usual ones; a test that wants others has them as its parameter."""
    return Terms()


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL of the database, and where it is kept: in SQLite, unless the parameter says `postgresql`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / 'gitpulse.db'}", tmp_path / "gitpulse.db"
        return
    with postgres_server() as server:
        yield server


@pytest.fixture
def installation(
    place: Place, operator: Operator, database: tuple[str, Path], terms: Terms, tmp_path: Path
) -> Iterator[Installation]:
    """It runs, both projects deliver, and nothing fires."""
    world = place.simulator.world
    world.instance.auto_disabling = True
    with redis_client.Redis.from_url(operator.redis_url) as client:
        client.flushall()
    port = free_port()
    environment = {**operator.shared, "GITPULSE_DATABASE_URL": database[0], **terms.settings}
    lively = {
        "GITPULSE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GITPULSE_RESYNC_INTERVAL": "1",
        "GITPULSE_BACKFILL_DAYS": "0",
    }
    looks_after = {**operator.of(place.namespace), **lively, **terms.settings}
    programs = (
        Program(tmp_path / "operator.log", "operator", looks_after),
        Program(tmp_path / "receiver.log", "receiver", environment, "--port", port, port=port),
        Program(tmp_path / "worker.log", "worker", environment, "--host", "127.0.0.1"),
    )
    with Installation.running(tmp_path / "prometheus", place, *programs, terms) as it:
        yield it
    world.clock.follow_wall()  # the simulator is the module's
    world.faults.clear()
    world.instance.silent_mode = False
    for project in world.projects.values():
        project.hooks.clear()
