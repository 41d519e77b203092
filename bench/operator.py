"""The operator on a real API server, at a budget of requests that is its limit: `make bench SUITE=operator`.

Five parts: first contact, from nothing to N ready projects; a restart with an empty Redis, when nothing has changed; a
resync of all, without end, while single specs are changed; one group that has no group hook, with 4 projects for every
5 of N; and a bare kopf operator in the same API server, for comparison. docs/performance.md says what the figures mean.
The simulated GitLab is served by this process.
"""

from __future__ import annotations

import base64
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests")]

import redis  # noqa: E402
from bench._fleet import create, patching, program, settled, writes  # noqa: E402

from gitpulse_service.contract import DIRECTORY_SHARDS  # noqa: E402
from gitpulse_sim.seed import demo_world  # noqa: E402
from gitpulse_sim.world import World  # noqa: E402
from harness import assets  # noqa: E402
from harness.controlplane import ControlPlane, control_plane_server  # noqa: E402
from harness.house import PUBLIC_URL, resource  # noqa: E402
from harness.processes import wait_until  # noqa: E402
from harness.redis import redis_server  # noqa: E402
from harness.simulator import Simulator, running_simulator  # noqa: E402

GOALS = {"budget_used": ">= 0.95", "restart_writes": "== 0", "rss_mib": "< 512", "spec_change_p99_s": "< 0.5"}
PROJECTS = 10_000
RATE = int(os.environ.get("RATE", "100"))
"""Requests a second to GitLab. Where the machine carries less, `budget_used` tells of the machine and not of us."""
CHANGES = 200
SYSTEM, GROUP = "gitpulse-system", "many"
WRITTEN = ("gitpulseprojects", "gitlabconnections", "secrets", "events")
REQUESTS, RUNS = "gitpulse_gitlab_requests_total", ("gitpulse_reconcile_total", 'GitPulseProject",result="success"')
Figures = dict[str, float]


@dataclass
class Bench:
    """The parts that run, and N projects in them."""

    count: int
    folder: Path
    plane: ControlPlane
    simulator: Simulator
    directory: redis.Redis
    environment: dict[str, str]
    say: Callable[[str], None]

    def first_contact(self) -> Figures:
        before = writes(self.plane, *WRITTEN)
        with program(
            self.folder, "-q", "-n", "default", "-m", "gitpulse_operator.main", **self.environment
        ) as operator:
            took = settled(lambda: operator.count(*RUNS), self.count)
            figures = {
                "first_contact_s": took,
                "budget_used": operator.count(REQUESTS) / (RATE * took),
                "first_requests": operator.count(REQUESTS) / self.count,
                "first_writes": (writes(self.plane, *WRITTEN) - before) / self.count,
                "first_cpu_s": operator.processor(),
                "rss_mib": operator.most_memory(),
            }
        path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        ready = self.plane.kubectl("get", "gitpulseprojects", "-o", path).split().count("True")
        assert ready == self.count, f"{ready} are ready"
        return figures

    def restart_and_resync(self) -> Figures:
        """The next resyncs come so soon that they use the whole budget."""
        before = writes(self.plane, *WRITTEN)
        self.directory.flushall()
        interval = str(max(1.0, 0.9 * self.count / RATE))
        environment = {**self.environment, "GITPULSE_RESYNC_INTERVAL": interval}
        with program(self.folder, "-q", "-n", "default", "-m", "gitpulse_operator.main", **environment) as operator:
            began = time.monotonic()
            wait_until(lambda: self.directory.exists(DIRECTORY_SHARDS), timeout=3600, what="a complete directory")
            figures = {"restart_s": time.monotonic() - began, "restart_requests": operator.count(REQUESTS) / self.count}
            figures["restart_writes"] = writes(self.plane, *WRITTEN) - before
            self.say(f"restarted in {figures['restart_s']:.1f} s; changing {CHANGES} specs during resyncs")
            runs, requests, began = operator.count(*RUNS), operator.count(REQUESTS), time.monotonic()
            while operator.count(*RUNS) - runs < self.count:
                time.sleep(1)
            took = time.monotonic() - began
            requests = operator.count(REQUESTS) - requests
            figures["resync_requests"] = requests / (operator.count(*RUNS) - runs)
            figures["resync_budget_used"] = requests / (RATE * took)
            figures["resync_writes"] = writes(self.plane, *WRITTEN) - before
            figures |= self._changes()
            figures["rss_mib"] = operator.most_memory()
        return figures

    def _changes(self) -> Figures:
        """Seconds from the moment when a spec has changed until GitLab's hook has."""
        hooks = {p.full_path: p.hooks for p in self.simulator.world.projects.values()}
        patch, seconds = patching(self.plane, "gitpulseprojects"), []
        for number in random.sample(range(self.count), min(CHANGES, self.count)):
            (hook,) = hooks[f"acme/bench-{number}"].values()
            patch(f"bench-{number}", {"spec": {"events": ["TagPush"]}})
            began = time.monotonic()
            wait_until(lambda hook=hook: hook.events == {"tag_push_events"}, timeout=60, what="the change in GitLab")
            seconds.append(time.monotonic() - began)
        seconds.sort()
        p50, p99 = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99) - 1]
        return {"spec_change_p50_s": p50, "spec_change_p99_s": p99}

    def group(self) -> Figures:
        """In a namespace of its own, so that nothing else is looked after."""
        projects = [p for p in self.simulator.world.projects.values() if p.group.path == GROUP]
        ours = {**self.environment, "GITPULSE_WATCH_NAMESPACES": GROUP}
        before = writes(self.plane, *WRITTEN, "configmaps")
        with program(self.folder, "-q", "-n", GROUP, "-m", "gitpulse_operator.main", **ours) as operator:
            took = settled(lambda: sum(bool(project.hooks) for project in projects), len(projects))
            figures = {
                "group_projects": len(projects),
                "group_s": took,
                "group_budget_used": operator.count(REQUESTS) / (RATE * took),
                "group_requests": operator.count(REQUESTS) / len(projects),
                "group_rss_mib": operator.most_memory(),
            }
            self.plane.kubectl("-n", GROUP, "wait", "--for=condition=Ready", "gitpulseproject/all", "--timeout=300s")
        figures["group_writes"] = writes(self.plane, *WRITTEN, "configmaps") - before
        before = writes(self.plane, *WRITTEN, "configmaps")
        with program(self.folder, "-q", "-n", GROUP, "-m", "gitpulse_operator.main", **ours) as operator:
            settled(lambda: operator.count(*RUNS), len(projects) + 1)
        figures["group_restart_writes"] = writes(self.plane, *WRITTEN, "configmaps") - before
        return figures

    def bare(self) -> Figures:
        """As many objects, and nothing but a status to write."""
        spec = {"members": [{"name": "Ada"}]}
        create(self.plane, "gitpulseteams", (resource("GitPulseTeam", f"bare-{n}", spec) for n in range(self.count)))
        before = writes(self.plane, "gitpulseteams")
        script = Path(__file__).parent / "_bare.py"
        with program(self.folder, "-q", "-A", script, KUBECONFIG=str(self.plane.kubeconfig)) as operator:
            took = settled(lambda: writes(self.plane, "gitpulseteams"), before + 2 * self.count)
            figures = {"bare_first_contact_s": took, "bare_cpu_s": operator.processor()}
            figures["bare_rss_mib"] = operator.most_memory()
        figures["bare_writes"] = (writes(self.plane, "gitpulseteams") - before) / self.count
        return figures


def run(n: int | None, say: Callable[[str], None]) -> Figures:
    count = n or PROJECTS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitpulse-bench-")))
        say("starting Redis, the API server and the simulator")
        server = stack.enter_context(redis_server(folder))
        plane = stack.enter_context(control_plane_server(assets.provide(), folder))
        plane.install_crds()
        plane.kubectl("create", "namespace", SYSTEM)
        environment = {
            "KUBECONFIG": str(plane.kubeconfig_for("gitpulse-operator", SYSTEM, ROOT / "operator" / "rbac.yaml")),
            "GITPULSE_REDIS_URL": server.url,
            "GITPULSE_INSTALLATION_KEY": base64.b64encode(bytes(32)).decode(),
            "GITPULSE_PUBLIC_URL": PUBLIC_URL,
        }
        simulator = stack.enter_context(running_simulator(lambda: _world(count)))
        directory = stack.enter_context(redis.Redis.from_url(server.url))
        bench = Bench(count, folder, plane, simulator, directory, environment, say)
        say(f"creating {count} projects")
        _apply(plane, simulator.url, count)
        figures: Figures = {"projects": count, "rate": RATE}
        for part in (bench.first_contact, bench.restart_and_resync, bench.group, bench.bare):
            say(f"{part.__name__.replace('_', ' ')} ...")
            found = part()
            say("  " + " ".join(f"{name}={value:.4g}" for name, value in found.items()))
            figures |= {**found, "rss_mib": max(figures.get("rss_mib", 0.0), found.get("rss_mib", 0.0))}
    return {name: round(value, 3) for name, value in figures.items()}


def _world(count: int) -> World:
    world = demo_world()
    world.instance.tier = "free"
    (acme,) = world.groups.values()
    for number in range(count):
        world.add_project(f"bench-{number}", acme)
    many = world.add_group(GROUP)
    many.members = dict(acme.members)
    for number in range(count * 4 // 5):
        world.add_project(f"many-{number}", many)
    return world


def _apply(plane: ControlPlane, url: str, count: int) -> None:
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "demo-token"}}
    spec = {"url": url, "tokenSecretRef": {"name": "token"}, "requestsPerSecond": RATE}
    gitlab = resource("GitLabConnection", "gitlab", spec)
    plane.apply(token, gitlab)
    plane.kubectl("create", "namespace", GROUP)
    everything = resource("GitPulseProject", "all", {"connectionRef": {"name": "gitlab"}, "group": GROUP})
    connection = {"connectionRef": {"name": "gitlab"}}
    names = (f"bench-{number}" for number in range(count))
    create(
        plane,
        "gitpulseprojects",
        (resource("GitPulseProject", n, {**connection, "project": f"acme/{n}"}) for n in names),
    )
    # Last, as the first parts look after the other namespace alone.
    plane.apply(token, gitlab, everything, namespace=GROUP)
