"""All of GitPulse before an API server without nodes and a simulated GitLab, for somebody who types what pages show.

Operator, receiver and worker run here as they would in their pods; the chart is installed, so that there are
Deployments to look at. `tests/docs/bin` has the programs one types that must know of it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis as redis_client
import requests

from gitpulse_service.log.redis_log import DEAD
from harness.chart import CHART, ROOT, helm
from harness.controlplane import ControlPlane
from harness.postgres import PROGRAMS as POSTGRES, postgres_server
from harness.processes import SCRIPTS, answers, free_port, running
from harness.redis import redis_server
from harness.shell import Shell, shell
from harness.simulator import Simulator

SYSTEM = "gitpulse-system"
SECRET = "s3cret-of-the-manual-hook"
BIN = ROOT / "tests/docs/bin"
PROJECTS = ("website", "api")


@dataclass
class Hamlet:
    """Where it is, and what one has at hand there."""

    plane: ControlPlane
    simulator: Simulator
    folder: Path
    """With its logs, and the environment of its parts."""
    environment: dict[str, str]
    """Of operator, receiver and worker, and of a person who has it for the command."""
    port: int
    redis_url: str
    at_hand: dict[str, str] = field(default_factory=dict)
    """What pages leave to who reads them: `TOKEN` of the query API, `GITLAB_TOKEN`, `ID` of a dead letter, `HOOK` of a
    hook that somebody has made by hand."""

    @property
    def ports(self) -> dict[str, str]:
        """As the pages have them -> as they are."""
        return {"8080": str(self.port), "8929": self.simulator.url.rpartition(":")[2]}

    def apply_examples(self) -> None:
        """As in the beginning: both projects have a hook, and receivers have seen a delivery of each."""
        self.plane.kubectl("apply", "-f", self.folder / "clone/examples")
        for name in PROJECTS:
            self.plane.kubectl("wait", "--for=condition=Ready", f"gitpulseproject/{name}", "--timeout=60s")
            self.simulator.push(project=f"acme/{name}")
        for name in PROJECTS:
            self.plane.kubectl("wait", "--for=condition=Delivering", f"gitpulseproject/{name}", "--timeout=60s")

    def find(self) -> None:
        """Fills `at_hand`."""
        url, headers = f"http://127.0.0.1:{self.port}/api/v1/webhooks/gitlab", {"X-Gitlab-Token": SECRET}
        assert requests.post(url, "no JSON", headers=headers, timeout=10).status_code == 400
        with redis_client.Redis.from_url(self.redis_url) as redis:
            ((letter, _),) = redis.xrange(DEAD)
        hooks = f"{self.simulator.url}/api/v4/projects/acme%2Fwebsite/hooks"
        mine = {"url": url, "token": SECRET, "push_events": True}
        hook = requests.post(hooks, mine, headers={"PRIVATE-TOKEN": self.simulator.token}, timeout=10).json()
        self.at_hand = {
            "ID": letter.decode(),
            "TOKEN": self.gitpulse("tokens", "create", "reader").split()[0],
            "GITLAB_TOKEN": self.simulator.token,
            "HOOK": str(hook["id"]),
        }

    def gitpulse(self, *arguments: str) -> str:
        """What the command says."""
        argv = [SCRIPTS / "gitpulse", *arguments]
        environment = {**os.environ, **self.environment}
        return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout

    @contextlib.contextmanager
    def shell(self, clone: Path, **environment: str) -> Iterator[Shell]:
        """A shell in this clone."""
        programs = {
            "KUBECTL": self.plane.kubectl_program,
            "HELM": helm(),
            "GITPULSE": SCRIPTS / "gitpulse",
            "CURL": shutil.which("curl"),
            "MAKE": shutil.which("make"),
            "FOLDER": self.folder,
            "ROOT": ROOT,
            "SYSTEM": SYSTEM,
            "PORT": self.port,
        }
        own = {
            "PATH": os.pathsep.join([*map(str, (BIN, SCRIPTS, POSTGRES)), os.environ["PATH"]]),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(clone.parent),
            "LANG": "C.UTF-8",
            "KUBECONFIG": str(self.plane.kubeconfig),
            **{f"DOCS_{name}": str(value) for name, value in programs.items()},
        }
        with shell(clone, own | environment) as opened:
            yield opened


@contextlib.contextmanager
def hamlet(plane: ControlPlane, simulator: Simulator, folder: Path) -> Iterator[Hamlet]:
    """Starts it with its files in `folder`; the examples are applied and looked after when it is entered."""
    (folder / "redis").mkdir()
    with redis_server(folder / "redis") as redis, postgres_server() as (database, _):
        port = free_port()
        environment = {
            "GITPULSE_REDIS_URL": redis.url,
            "GITPULSE_DATABASE_URL": database,
            "GITPULSE_INSTALLATION_KEY": base64.b64encode(bytes(range(32))).decode(),
            "GITPULSE_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "GITPULSE_METRICS_PORT": "0",
            "GITLAB_WEBHOOK_SECRET": SECRET,
            "KUBECONFIG": str(plane.kubeconfig),
        }
        (folder / "environment").write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in environment.items()))
        clone_of(folder, simulator.url)
        made = Hamlet(plane, simulator, folder, environment, port, redis.url)
        plane.kubectl("create", "namespace", SYSTEM)
        _helm(plane, "install", "gitpulse", CHART, "-n", SYSTEM, "--take-ownership")
        probe = free_port()
        ours = {**environment, "GITPULSE_LIVENESS_PORT": str(probe)}
        with contextlib.ExitStack() as stack:
            for part, options, ready in (
                ("receiver", ["--port", str(port), "--metrics-port", "0"], port),
                ("worker", ["--metrics-port", "0"], None),
                ("operator", [], probe),
            ):
                argv: list[str | Path] = [SCRIPTS / "gitpulse", part, *options]
                listens = (lambda at=ready: answers(at)) if ready else (lambda: True)
                stack.enter_context(running(argv, log=folder / f"{part}.log", ready=listens, env=ours))
            made.apply_examples()
            made.find()
            yield made


def clone_of(folder: Path, gitlab: str) -> Path:
    """The repository's folders, as far as one types their names, with examples that lead to this GitLab."""
    clone = folder / "clone"
    clone.mkdir()
    for name in ("charts", "crds", "operator", "locks"):
        (clone / name).symlink_to(ROOT / name)
    (clone / "values.yaml").write_text("{}\n")
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/activate").touch()
    shutil.copytree(ROOT / "examples", clone / "examples")
    connection = clone / "examples/connection.yaml"
    connection.write_text(connection.read_text().replace("http://127.0.0.1:8929", gitlab))
    return clone


def _helm(plane: ControlPlane, *arguments: str | Path) -> None:
    argv = [helm(), "--kubeconfig", plane.kubeconfig, *arguments]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
