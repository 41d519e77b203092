"""The operator on a real API server: N projects from nothing to ready, then a restart that has nothing to do.

`first_contact_s`: from the operator's first sign of life until every project is ready, its budget out of the way;
`restart_s`: until a new process has published all routes again; `restart_writes`: objects written meanwhile;
`rss_mib`: the most memory that either process held.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests")]

import redis  # noqa: E402

from gitpulse_service.contract import DIRECTORY, DIRECTORY_SHARDS  # noqa: E402
from gitpulse_sim.seed import demo_world  # noqa: E402
from gitpulse_sim.world import World  # noqa: E402
from harness import assets  # noqa: E402
from harness.controlplane import ControlPlane, control_plane_server  # noqa: E402
from harness.house import PUBLIC_URL, resource  # noqa: E402
from harness.processes import SCRIPTS, answers, free_port, running, wait_until  # noqa: E402
from harness.redis import redis_server  # noqa: E402
from harness.simulator import running_simulator  # noqa: E402

GOALS = {"restart_writes": "== 0", "rss_mib": "<= 512"}
PROJECTS = 300
PATIENCE = 900.0
SYSTEM = "gitpulse-system"
WRITTEN = "gitpulseprojects,gitlabconnections,secrets,events"


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    count = n or PROJECTS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitpulse-bench-")))
        say("starting Redis, the API server and the simulator")
        server = stack.enter_context(redis_server(folder))
        plane = stack.enter_context(control_plane_server(assets.provide(), folder))
        plane.install_crds()
        plane.kubectl("create", "namespace", SYSTEM)
        kubeconfig = plane.kubeconfig_for("gitpulse-operator", SYSTEM, ROOT / "operator" / "rbac.yaml")
        simulator = stack.enter_context(running_simulator(lambda: _world(count)))
        say(f"applying {count} projects")
        _apply(plane, simulator.url, count)
        directory = stack.enter_context(redis.Redis.from_url(server.url))
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "GITPULSE_REDIS_URL": server.url,
            "GITPULSE_INSTALLATION_KEY": base64.b64encode(bytes(32)).decode(),
            "GITPULSE_PUBLIC_URL": PUBLIC_URL,
            "GITPULSE_METRICS_PORT": "0",
        }

        def ready() -> bool:
            return directory.hlen(DIRECTORY) == count and all(
                _status(item) == "True" for item in _items(plane, "gitpulseprojects")
            )

        with _operator(environment, folder) as most_memory:
            began = time.monotonic()
            wait_until(ready, timeout=PATIENCE, what="all projects ready")
            wait_until(lambda: directory.exists(DIRECTORY_SHARDS), timeout=PATIENCE, what="a complete directory")
            first_contact, memory = time.monotonic() - began, most_memory()
        say(f"{count} ready after {first_contact:.1f} s; restarting with an empty Redis")
        before = _versions(plane)
        directory.flushall()
        with _operator(environment, folder) as most_memory:
            began = time.monotonic()
            wait_until(lambda: directory.exists(DIRECTORY_SHARDS), timeout=PATIENCE, what="a complete directory")
            restart, memory = time.monotonic() - began, max(memory, most_memory())
        writes = len(_versions(plane).items() ^ before.items())
    return {
        "projects": count,
        "first_contact_s": round(first_contact, 1),
        "restart_s": round(restart, 1),
        "restart_writes": writes,
        "rss_mib": round(memory, 1),
    }


@contextmanager
def _operator(environment: dict[str, str], folder: Path) -> Iterator[Callable[[], float]]:
    """The operator as a program of its own; yields what tells the most memory it held so far, in MiB."""
    port = free_port()
    argv = [SCRIPTS / "kopf", "run", "-m", "gitpulse_operator.main", "-A", "--standalone", "-q"]
    argv += [f"--liveness=http://127.0.0.1:{port}/healthz"]
    with running(argv, log=folder / "operator.log", ready=lambda: answers(port), env=environment) as process:
        status = Path(f"/proc/{process.pid}/status")
        yield lambda: next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if "VmHWM" in line)


def _world(count: int) -> World:
    world = demo_world()
    (acme,) = world.groups.values()
    for number in range(count):
        world.add_project(f"bench-{number}", acme)
    return world


def _apply(plane: ControlPlane, url: str, count: int) -> None:
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "demo-token"}}
    spec = {"url": url, "tokenSecretRef": {"name": "token"}, "requestsPerSecond": 1000}
    projects = (
        resource(
            "GitPulseProject",
            f"bench-{number}",
            {"connectionRef": {"name": "gitlab"}, "project": f"acme/bench-{number}"},
        )
        for number in range(count)
    )
    plane.apply(token, resource("GitLabConnection", "gitlab", spec), *projects)


def _items(plane: ControlPlane, kinds: str) -> list[dict[str, dict]]:
    items: list[dict[str, dict]] = json.loads(plane.kubectl("get", kinds, "-o", "json"))["items"]
    return items


def _status(item: dict[str, dict]) -> str:
    conditions = item["status"].get("conditions", ())
    return next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "")


def _versions(plane: ControlPlane) -> dict[tuple[str, str], str]:
    return {(i["kind"], i["metadata"]["name"]): i["metadata"]["resourceVersion"] for i in _items(plane, WRITTEN)}
