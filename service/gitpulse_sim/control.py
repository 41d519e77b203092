"""Doors for other programs to move the simulator: clock, settings, faults, a push, a replayed history, and the truth.

They stand beside the API, under `/-/sim/`, and ask for no token: serve the simulator where only friends can reach it.
"""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gitpulse_sim import activity, words
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.faults import Fault
from gitpulse_sim.forge import Forge
from gitpulse_sim.instance import Instance
from gitpulse_sim.repository import Draft, Person
from gitpulse_sim.truth import truth

PREFIX = "/-/sim"


class Control:
    """What the doors lead to, and the replay that is under way."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.world = forge.world
        self.progress = activity.Progress(0, 0.0)
        self.replay: asyncio.Task[int] | None = None

    @property
    def state(self) -> str:
        """Of the replay: `idle`, `running`, `done`, or why it failed."""
        if self.replay is None:
            return "idle"
        if not self.replay.done():
            return "running"
        return f"failed: {error}" if (error := self.replay.exception()) else "done"

    async def aclose(self) -> None:
        if self.replay:
            self.replay.cancel()
            await asyncio.gather(self.replay, return_exceptions=True)


class Command(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A door that is pushed open: a POST whose JSON body fills the fields."""

    async def run(self, control: Control) -> object:
        raise NotImplementedError


class Clock(Command, kw_only=True):
    """Moves the clock: `now` stops it there, `advance` moves it by seconds, `follow` lets it follow the wall again."""

    now: datetime | None = None
    advance: float = 0.0
    follow: bool = False

    async def run(self, control: Control) -> object:
        clock = control.world.clock
        if self.follow:
            clock.follow_wall()
        if self.now:
            clock.stop_at(self.now if self.now.tzinfo else self.now.replace(tzinfo=UTC))
        return {"now": clock.advance(self.advance).isoformat()}


class Settings(Command, kw_only=True):
    """Changes settings of the instance, for example `{"set": {"version": "17.3.0", "tier": "free"}}`; returns all."""

    set: dict[str, object] = {}

    async def run(self, control: Control) -> object:
        instance = control.world.instance
        known = asdict(instance)
        if unknown := self.set.keys() - known:
            raise BadRequest(f"no such setting: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        changed = msgspec.convert(known | self.set, Instance)
        changed.check()
        for name, value in asdict(changed).items():
            setattr(instance, name, value)
        return asdict(instance)


class Faults(Command, kw_only=True):
    """Adds a fault to the API (see `gitpulse_sim.faults.Fault`); `clear` takes away all others first."""

    add: Fault | None = None
    clear: bool = False

    async def run(self, control: Control) -> object:
        faults = control.world.faults
        if self.clear:
            faults.clear()
        if self.add:
            faults.append(self.add)
        return [asdict(fault) for fault in faults]


class Activity(Command, kw_only=True):
    """Starts to replay a team's work of so many days; all projects unless some are named. See GET activity."""

    projects: list[str] = []
    days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14
    seed: int = 1

    async def run(self, control: Control) -> object:
        if control.state == "running":
            raise BadRequest("a replay is under way; see GET /-/sim/activity")
        world = control.world
        projects = [world.project(path) for path in self.projects] or list(world.projects.values())

        def report(progress: activity.Progress) -> None:
            control.progress = progress

        report(activity.Progress(0, 0.0))
        replay = activity.replay(control.forge, projects, days=self.days, seed=self.seed, progress=report)
        control.replay = asyncio.create_task(replay)
        return {"started": [project.full_path for project in projects], "days": self.days}


class Push(Command, kw_only=True):
    """Pushes commits to a branch, which is made where it is missing; by alice unless a username is given."""

    project: str
    user: str = "alice"
    branch: str = "main"
    commits: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    message: str = "Change something"

    async def run(self, control: Control) -> object:
        world, now = control.world, control.world.clock.now()
        user = world.user(self.user)
        drafts = [
            Draft(
                message=f"{self.message} ({number})" if self.commits > 1 else self.message,
                author=Person(user.name, user.email),
                at=now,
                files={f"{words.slug(self.branch)}/{now:%Y%m%d-%H%M%S%f}-{number}.txt": f"{self.message}\n"},
            )
            for number in range(1, self.commits + 1)
        ]
        change = await control.forge.push(world.project(self.project), user, self.branch, drafts)
        return {"ref": change.ref, "before": change.before, "after": change.after, "commits": change.total}


class Application(Command, kw_only=True):
    """Registers an application that users sign in to with this GitLab; returns its ID and its secret."""

    name: str
    redirect_uris: Annotated[list[str], msgspec.Meta(min_length=1)]
    scopes: tuple[str, ...] = ("openid", "email")

    async def run(self, control: Control) -> object:
        made = control.world.add_application(self.name, self.redirect_uris, self.scopes)
        return {"application_id": made.uid, "secret": made.secret}


COMMANDS = {command.__name__.lower(): command for command in (Clock, Settings, Faults, Activity, Push, Application)}


async def _command(request: Request) -> Response:
    """Runs one command. A body that does not fit is 400, in one line."""
    command = COMMANDS[request.url.path.removeprefix(f"{PREFIX}/")]
    try:
        asked = msgspec.json.decode(await request.body() or b"{}", type=command)
        return JSONResponse(await asked.run(request.app.state.control))
    except msgspec.MsgspecError as error:
        raise BadRequest(str(error)) from error


async def _help(_: Control) -> str:
    """This page."""
    lines = [inspect.cleandoc(__doc__ or ""), ""]
    for path, read in READS.items():
        lines += [f"GET {PREFIX}/{path}", f"    {read.__doc__}"]
    for path, command in COMMANDS.items():
        wanted = ", ".join(field.name + "?" * (not field.required) for field in msgspec.structs.fields(command))
        lines += [f"POST {PREFIX}/{path}  {{{wanted}}}", f"    {command.__doc__}"]
    return "\n".join(lines) + "\n"


async def _progress(control: Control) -> object:
    """How far the replay is: state (or why it failed), events, fraction."""
    return {"state": control.state, **asdict(control.progress)}


async def _truth(control: Control) -> object:
    """What is true of each project, from git and the simulator's own records."""
    return [await truth(project) for project in control.world.projects.values()]


async def _idle(control: Control) -> object:
    """Answers when no delivery is under way."""
    await control.forge.engine.idle()
    return {"sent": control.forge.engine.sent}


READS = {"": _help, "activity": _progress, "truth": _truth, "idle": _idle}


async def _read(request: Request) -> Response:
    said = await READS[request.url.path.removeprefix(f"{PREFIX}/")](request.app.state.control)
    return PlainTextResponse(said) if isinstance(said, str) else JSONResponse(said)


def routes() -> list[Route]:
    return [
        *(Route(f"{PREFIX}/{path}", _read, methods=["GET"]) for path in READS),
        *(Route(f"{PREFIX}/{path}", _command, methods=["POST"]) for path in COMMANDS),
    ]
