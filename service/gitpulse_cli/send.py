"""`gitpulse send`: one delivery, made and signed as GitLab does it, so that a receiver can be tried without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import typer

from gitpulse_cli.errors import WrongInput
from gitpulse_cli.output import Format, console, dump
from gitpulse_cli.secrets import given
from gitpulse_sim.acts import act
from gitpulse_sim.api.deliveries import sample_event
from gitpulse_sim.deliver import SIGNING_PREFIX, Engine, delivering, signing_key
from gitpulse_sim.forge import Forge
from gitpulse_sim.hook_log import LogRow
from gitpulse_sim.seed import demo_world
from gitpulse_sim.team import Team
from gitpulse_sim.world import Project, World

EVENTS: dict[str, tuple[str, Callable[[Project], object]]] = {
    "push": ("push_events", lambda project: not project.repository.is_empty),
    "merge_request": ("merge_requests_events", lambda project: project.merge_requests),
    "issue": ("issues_events", lambda project: project.issues),
    "pipeline": ("pipeline_events", lambda project: project.pipelines),
}
"""The trigger of each, and whether a project has one."""
CURES = {
    "401": "the receiver has another secret for this URL; `gitpulse verify` says of a captured request what is wrong",
    "403": "the receiver takes nothing from this address: GITPULSE_ALLOWED_ADDRESSES",
    "404": "the path is /api/v1/webhooks/gitlab, or what the operator has made of it",
    "429": "so much was refused to this address that it has to wait",
    "503": "the receiver does not reach its Redis",
}


async def run(event: str, url: str, secret_file: Path | None, instance: str, output: Format) -> bool:
    """Sends it and prints the answer; whether it was taken. Raises WrongInput."""
    secret = given(secret_file)
    if secret.startswith(SIGNING_PREFIX) and not signing_key(secret):
        raise WrongInput("the secret begins with whsec_, so 32 bytes in base64 must follow")
    world = demo_world()
    world.url = instance.rstrip("/")
    with console.status("Delivering"):
        async with delivering(world) as engine:
            row = await _send(world, engine, event, url, secret)
    taken = row.status is not None and row.status < 300
    cure = None if taken else CURES.get(row.response_status or "")
    milliseconds = round(row.execution_duration * 1000)
    if output is not Format.TABLE:
        answer = {"status": row.status, "error": row.error or None, "milliseconds": milliseconds}
        dump({"event": event, "url": url, "taken": taken, **answer, "cure": cure}, output)
    else:
        typer.echo(f"{event} to {url}: {row.status or row.error} in {milliseconds} ms")
        if cure:
            typer.echo(f"- {cure}")
    return taken


async def _send(world: World, engine: Engine, event: str, url: str, secret: str) -> LogRow:
    project = next(iter(world.projects.values()))
    random = Random(event)  # noqa: S311 - what somebody makes up
    team = Team(Forge(world, engine), project, random, world.clock, calm=True)
    trigger, there = EVENTS[event]
    while not there(project):  # nobody hears of it yet, for there is no hook
        await act(team, random.choice(team.members))
    hook = world.add_hook(project, url)
    if secret.startswith(SIGNING_PREFIX):
        hook.signing_token = secret
    else:
        hook.token = secret
    return await engine.send(hook, sample_event(team.forge, project, trigger, team.who))
