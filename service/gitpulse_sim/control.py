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
from gitpulse_sim.truth import truth
from gitpulse_sim.world import Parent

PREFIX = "/-/sim"


async def _command(request: Request) -> Response:
    """Runs one command. A body that does not fit is 400, in one line."""
    command = COMMANDS[request.url.path.removeprefix(f"{PREFIX}/")]
    try:
        asked = msgspec.json.decode(await request.body() or b"{}", type=command)
        return JSONResponse(await asked.run(request.app.state.control))
    except (msgspec.MsgspecError, SimulatorError) as error:
        return JSONResponse({"error": str(error)}, 400)


async def _help(_: Request) -> Response:
    lines = [inspect.cleandoc(__doc__ or ""), "", *_READS.values(), ""]
    for path, command in COMMANDS.items():
        wanted = ", ".join(field.name + ("" if field.required else "?") for field in msgspec.structs.fields(command))
        lines += [f"POST {PREFIX}/{path}  {{{wanted}}}", f"    {inspect.cleandoc(command.__doc__ or '')}"]
    return PlainTextResponse("\n".join(lines) + "\n")


async def _progress(request: Request) -> Response:
    control: Control = request.app.state.control
    return JSONResponse({"state": control.state, **asdict(control.progress)})


async def _truth(request: Request) -> Response:
    control: Control = request.app.state.control
    return JSONResponse([await truth(project) for project in control.world.projects.values()])


async def _hooks(request: Request) -> Response:
    control: Control = request.app.state.control
    world = control.world
    parents: list[Parent] = [*world.projects.values(), *world.groups.values()]
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
            for parent in parents
            for hook in parent.hooks.values()
        ]
    )


async def _idle(request: Request) -> Response:
    control: Control = request.app.state.control
    await control.forge.engine.idle()
    return JSONResponse({"sent": control.forge.engine.sent})


_READS = {
    "": f"GET {PREFIX}/\n    This page.",
    "activity": f"GET {PREFIX}/activity\n    How far the replay is: state (or why it failed), events, fraction.",
    "truth": f"GET {PREFIX}/truth\n    What is true of each project, from git and the simulator's own records.",
    "hooks": f"GET {PREFIX}/hooks\n    All hooks, with what GitLab does not show: failures in a row, dropped events.",
    "idle": f"GET {PREFIX}/idle\n    Answers when no delivery is under way.",
}


def routes() -> list[Route]:
    reads = {"": _help, "activity": _progress, "truth": _truth, "hooks": _hooks, "idle": _idle}
    return [
        *(Route(f"{PREFIX}/{path}", read, methods=["GET"]) for path, read in reads.items()),
        *(Route(f"{PREFIX}/{path}", _command, methods=["POST"]) for path in COMMANDS),
    ]
