"""Doors for other programs to move the simulator: clock, settings, faults, activity, single actions, and the truth.

They stand beside the API, under `/-/sim/`, and ask for no token: serve the simulator where only friends can reach it.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gitpulse_sim.commands import COMMANDS, Control
from gitpulse_sim.errors import SimulatorError
from gitpulse_sim.forge import Forge
from gitpulse_sim.truth import truth
from gitpulse_sim.world import World

PREFIX = "/-/sim"


async def _command(request: Request) -> Response:
    """Runs one command. A body that does not fit is 400, in one line."""
    command = COMMANDS[request.url.path.removeprefix(f"{PREFIX}/")]
    try:
        return JSONResponse(await command(request.app.state.control, await request.body()))
    except (msgspec.MsgspecError, SimulatorError) as error:
        return JSONResponse({"error": str(error)}, 400)


async def _help(_: Request) -> Response:
    """This page."""
    lines = [inspect.cleandoc(__doc__ or ""), ""]
    for path, read in READS.items():
        lines += [f"GET {PREFIX}/{path}", f"    {read.__doc__}"]
    for path, command in COMMANDS.items():
        wanted = ", ".join(field.name + "?" * (not field.required) for field in msgspec.structs.fields(command.shape))
        lines += [f"POST {PREFIX}/{path}  {{{wanted}}}", f"    {command.about}"]
    return PlainTextResponse("\n".join(lines) + "\n")


async def _progress(request: Request) -> Response:
    """How far the replay is: state (or why it failed), events, fraction."""
    control: Control = request.app.state.control
    return JSONResponse({"state": control.state, **asdict(control.progress)})


async def _truth(request: Request) -> Response:
    """What is true of each project, from git and the simulator's own records."""
    control: Control = request.app.state.control
    return JSONResponse([await truth(project) for project in control.world.projects.values()])


async def _hooks(request: Request) -> Response:
    """All hooks, with what GitLab does not show: failures in a row, dropped events."""
    world: World = request.app.state.forge.world
    now = world.clock.now()
    return JSONResponse(
        [
            {
                "id": hook.id,
                "parent": parent.full_path,
                "url": hook.url,
                "name": hook.name,
                "alert_status": hook.alert_status(world.instance, now),
                "recent_failures": hook.recent_failures,
                "delivered": len(hook.log.rows),
                "dropped": dict(hook.dropped),
            }
            for parent in world.parents
            for hook in parent.hooks.values()
        ]
    )


async def _idle(request: Request) -> Response:
    """Answers when no delivery is under way."""
    forge: Forge = request.app.state.forge
    await forge.engine.idle()
    return JSONResponse({"sent": forge.engine.sent})


READS = {"": _help, "activity": _progress, "truth": _truth, "hooks": _hooks, "idle": _idle}


def routes() -> list[Route]:
    return [
        *(Route(f"{PREFIX}/{path}", read, methods=["GET"]) for path, read in READS.items()),
        *(Route(f"{PREFIX}/{path}", _command, methods=["POST"]) for path in COMMANDS),
    ]
