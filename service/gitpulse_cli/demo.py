"""`gitpulse demo`: all of GitPulse on one machine against a simulated GitLab, and its numbers held against the truth.

Redis, receiver and worker run as programs of their own, as they do elsewhere; the operator's reconcile core is fed
from YAML files in place of a cluster; the simulator runs here, so that its truth can be asked for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gitpulse_cli import children, figures
from gitpulse_cli.errors import CommandError
from gitpulse_cli.output import Format, console
from gitpulse_cli.report import Check, Report
from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.agenda import ended
from gitpulse_operator.domain.conditions import READY, Condition, find
from gitpulse_operator.local import look_after
from gitpulse_operator.reconcile.resource import Ref, Resource
from gitpulse_operator.settings import OperatorSettings
from gitpulse_sim.activity import Progress as Replayed, replay
from gitpulse_sim.forge import Forge
from gitpulse_sim.seed import demo_world
from gitpulse_sim.server import PORT as SIMULATOR_PORT, serving
from gitpulse_sim.truth import facts

STARTING = 20.0
"""Seconds that a resource may take to be looked after, and the receiver to read the hooks that were published."""
COUNTING = 60.0
"""Seconds that the worker may lag behind the last delivery before the demo calls it a failure."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the parts listen."""

    redis: str
    receiver: str
    receiver_metrics: str
    worker_metrics: str
    installation_key: bytes


async def run(*, examples: Path | None, days: int, once: bool, output: Format) -> int:
    """Runs the demo until Ctrl-C or SIGTERM, or until the checks are done. Returns the exit code."""
    report = None
    with children.until_told(), tempfile.TemporaryDirectory(prefix="gitpulse-demo-") as name:
        folder = Path(name)
        port = children.free_port(SIMULATOR_PORT)
        async with contextlib.AsyncExitStack() as parts:
            forge = await parts.enter_async_context(serving(demo_world(), port=port))
            services = await parts.enter_async_context(_services(folder))
            console.print(
                f"[bold]GitPulse demo[/]: a GitLab with two projects and six people at {forge.world.url}", markup=True
            )
            cluster = FolderCluster([_manifests(examples, folder, forge.world.url)], folder / "state.json")
            await parts.enter_async_context(_operator(cluster, services))
            report = await _replay_and_check(forge, days, services)
            report.show(output)
            sys.stdout.flush()
            if not once:
                _show_addresses(forge, services)
                await asyncio.Event().wait()
    return 130 if report is None else int(not report.ok)


# --- the parts --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _services(folder: Path) -> AsyncIterator[Services]:
    """Redis, worker and receiver, with settings of the demo's and none of the caller's."""
    port, *metrics = [children.free_port(preferred) for preferred in _PORTS]
    key = secrets.token_bytes(32)
    redis, redis_url = children.redis(folder)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GITPULSE_", "GITLAB_"))}
    env |= {
        "GITPULSE_REDIS_URL": redis_url,
        "GITPULSE_DATABASE_URL": f"sqlite:///{folder / 'gitpulse.db'}",
        "GITPULSE_INSTALLATION_KEY": base64.b64encode(key).decode(),
        "GITPULSE_API_TOKENS_REQUIRED": "false",
    }
    services = children.services(
        "127.0.0.1", port, dict(zip(("receiver", "worker"), metrics, strict=True)), env, folder
    )
    async with contextlib.AsyncExitStack() as parts:
        for program in (redis, *services):
            await parts.enter_async_context(children.child(program))
        of_receiver, of_worker = (f"http://127.0.0.1:{number}/metrics" for number in metrics)
        yield Services(redis_url, f"http://127.0.0.1:{port}", of_receiver, of_worker, key)


_PORTS = (8080, 9101, 9102)
"""Of the receiver, its metrics and the worker's: taken where they are free, so that addresses stay from run to run."""


# --- the steps --------------------------------------------------------------------------------------------------------


def _manifests(examples: Path | None, folder: Path, simulator: str) -> Path:
    """A copy of the examples whose connection leads to our simulator, wherever it listens."""
    source = examples or next((p for p in _EXAMPLES if p.is_dir()), None)
    if source is None:
        raise CommandError("no folder of examples; name one with --examples")
    (copy := folder / "examples").mkdir()
    for file in sorted(source.glob("*.yaml")):
        text = file.read_text().replace(f"http://127.0.0.1:{SIMULATOR_PORT}", simulator)
        (copy / file.name).write_text(text)
    return copy


_EXAMPLES = (Path("examples"), Path(__file__).parent / "examples", Path(__file__).parents[2] / "examples")
"""Where the examples are: here, in an installed wheel, in a clone."""


@contextlib.asynccontextmanager
async def _operator(cluster: FolderCluster, services: Services) -> AsyncIterator[None]:
    """Looks after the resources until the block ends. Raises CommandError for one that does not become ready."""
    settings = OperatorSettings(
        redis_url=services.redis, public_url=services.receiver, installation_key=services.installation_key
    )
    working = asyncio.create_task(look_after(settings, cluster))
    try:
        for ref in cluster.refs():
            try:
                ready = await asyncio.wait_for(_looked_after(cluster, ref), STARTING)
            except TimeoutError:
                raise CommandError(f"{ref}: nobody has looked after it within {STARTING:.0f} s") from None
            mark = "[green]✓[/]" if ready.status == "True" else "[red]✗[/]"
            console.print(f"  {mark} {ref}: {escape(ready.message)}", markup=True)
            if ready.status != "True":
                raise CommandError(f"{ref} is not ready: {ready.message}")
        async with aiohttp.ClientSession() as session:
            if not await figures.await_ready(session, services.receiver, seconds=STARTING):
                raise CommandError(f"the receiver at {services.receiver} does not learn of the hooks")
        yield
    finally:
        await ended(working)


async def _looked_after(cluster: FolderCluster, ref: Ref) -> Condition:
    """The outcome of the first run over it."""
    while True:
        if ready := find(Resource.from_body(await cluster.read(ref) or {}).conditions, READY):
            return ready
        await asyncio.sleep(0.05)


async def _replay_and_check(forge: Forge, days: int, services: Services) -> Report:
    projects = list(forge.world.projects.values())
    started = time.monotonic()
    with _progress() as progress:
        bar = progress.add_task(f"{days} days of work", total=None, events="")
        hours = days * 24

        def advance(at: Replayed) -> None:
            progress.update(bar, total=hours, completed=int(at.fraction * hours), events=f"{at.events} events")

        sent = await replay(forge, projects, days=days, progress=advance)
    async with aiohttp.ClientSession() as session:
        accepted = await figures.accepted(session, services.receiver_metrics)
        counted = await figures.await_counted(session, services.worker_metrics, accepted, seconds=COUNTING)
        checks = [Check("deliveries: accepted", sent, accepted), Check("deliveries: counted once", sent, counted)]
        for project in projects:
            expected = figures.expected(await facts(project))
            actual = await figures.actual(session, services.receiver, project.full_path)
            checks += [
                Check(f"{project.full_path}: {name}", value, actual.get(name)) for name, value in expected.items()
            ]
    return Report(accepted, time.monotonic() - started, checks)


def _progress() -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("hours"))
    return Progress(*columns, TextColumn("{task.fields[events]}"), TimeElapsedColumn(), console=console)


def _show_addresses(forge: Forge, services: Services) -> None:
    projects = forge.world.projects.values()
    console.print("\nLook at it; Ctrl-C ends it:")
    console.print(f"  [bold]the dashboard          {services.receiver}/[/]", markup=True)
    console.print(f"  the simulated GitLab   {forge.world.url}/")
    console.print(f"  projects               {services.receiver}/api/v1/projects")
    for project in projects:
        console.print(f"  {project.full_path:<22} {services.receiver}/api/v1/projects/{project.id}/summary")
    console.print(f"  metrics                {services.receiver_metrics}  {services.worker_metrics}")
