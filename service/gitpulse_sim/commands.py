"""What other programs may make the simulator do, one function a command; `control` serves them over HTTP.

A command's parameters, with their types and defaults, are the JSON that it takes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, get_type_hints

import msgspec

from gitpulse_sim import activity as activities, ci, discussions, words
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.faults import Fault
from gitpulse_sim.forge import Forge
from gitpulse_sim.frame import Data
from gitpulse_sim.instance import Instance
from gitpulse_sim.people import User
from gitpulse_sim.repository import Draft, Person
from gitpulse_sim.work import Issue, MergeRequest, PipelineStatus
from gitpulse_sim.world import Project, World


@dataclass
class Control:
    """What the commands work on, and the replay that is under way."""

    forge: Forge
    progress: activities.Progress = field(default_factory=lambda: activities.Progress(0, 0.0))
    replay: asyncio.Task[int] | None = None

    @property
    def world(self) -> World:
        return self.forge.world

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

    def scene(self, path: str, username: str) -> tuple[Forge, Project, User]:
        """Where an action happens, and by whom: the project's first member unless a username is given."""
        project = self.world.project(path)
        if username:
            return self.forge, project, self.world.user(username)
        for number in project.members | project.group.members:
            return self.forge, project, self.world.users[number]
        raise BadRequest(f"{path} has no members; say which user acts")


async def clock(control: Control, *, now: datetime | None = None, advance: float = 0.0, follow: bool = False) -> Data:
    """Moves the clock: `now` stops it there, `advance` moves it by seconds, `follow` lets it follow the wall again."""
    moved = control.world.clock
    if follow:
        moved.follow_wall()
    if now:
        moved.stop_at(now if now.tzinfo else now.replace(tzinfo=UTC))
    return {"now": moved.advance(advance).isoformat()}


async def settings(control: Control, *, set: dict[str, object] | None = None) -> Data:  # noqa: A002 - the JSON's name
    """Changes settings of the instance, for example `{"set": {"version": "17.3.0", "tier": "free"}}`; returns all."""
    instance, wanted = control.world.instance, set or {}
    names = [field.name for field in fields(instance) if not field.name.startswith("_")]
    if unknown := wanted.keys() - {*names}:
        raise BadRequest(f"no such setting: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    changed = msgspec.convert({name: getattr(instance, name) for name in names} | wanted, Instance)
    changed.check()
    for name in names:
        setattr(instance, name, getattr(changed, name))
    return {name: getattr(instance, name) for name in names}


async def faults(control: Control, *, add: Fault | None = None, clear: bool = False) -> list[Data]:
    """Adds a fault to the API (see `gitpulse_sim.faults.Fault`); `clear` takes away all others first."""
    known = control.world.faults
    if clear:
        known.clear()
    if add:
        known.append(add)
    return [asdict(fault) for fault in known]


async def token(
    control: Control,
    *,
    name: str,
    revoked: bool | None = None,
    scopes: list[str] | None = None,
    expires_at: date | None = None,
) -> Data:
    """Revokes a token, or changes its scopes or its last day; found by its name."""
    found = next((token for token in control.world.tokens.values() if token.name == name), None)
    if found is None:
        raise BadRequest(f"there is no token named {name}")
    found.revoked = found.revoked if revoked is None else revoked
    found.scopes = found.scopes if scopes is None else tuple(scopes)
    found.expires_at = expires_at or found.expires_at
    return {"name": found.name, "revoked": found.revoked, "scopes": found.scopes}


async def activity(
    control: Control,
    *,
    projects: Sequence[str] = (),
    days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14,
    seed: int = 1,
) -> Data:
    """Starts to replay a team's work of so many days; all projects unless some are named. See GET activity."""
    if control.state == "running":
        raise BadRequest("a replay is under way; see GET /-/sim/activity")
    places = [control.world.project(path) for path in projects] or list(control.world.projects.values())

    def report(progress: activities.Progress) -> None:
        control.progress = progress

    report(activities.Progress(0, 0.0))
    replay = activities.replay(control.forge, places, days=days, seed=seed, progress=report)
    control.replay = asyncio.create_task(replay)
    return {"started": [project.full_path for project in places], "days": days}


async def push(
    control: Control,
    *,
    project: str,
    user: str = "",
    branch: str = "main",
    commits: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1,
    message: str = "Change something",
) -> Data:
    """Pushes commits to a branch, which is made where it is missing."""
    forge, place, author = control.scene(project, user)
    now = control.world.clock.now()
    drafts = [
        Draft(
            message=f"{message} ({number})" if commits > 1 else message,
            author=Person(author.name, author.email),
            at=now,
            files={f"{words.slug(branch)}/{now:%Y%m%d-%H%M%S%f}-{number}.txt": f"{message}\n"},
        )
        for number in range(1, commits + 1)
    ]
    change = await forge.push(place, author, branch, drafts)
    return {"ref": change.ref, "before": change.before, "after": change.after, "commits": change.total}


async def merge_request(
    control: Control, *, project: str, user: str = "", source: str, title: str = "A change", target: str | None = None
) -> Data:
    """Opens a merge request from a branch that was pushed."""
    scene, now = control.scene(project, user), control.world.clock.now()
    made = await discussions.open_merge_request(*scene, source, title=title, target=target, at=now)
    return {"id": made.id, "iid": made.iid}


async def issue(
    control: Control, *, project: str, user: str = "", title: str = "Something is wrong", confidential: bool = False
) -> Data:
    """Opens an issue."""
    scene, now = control.scene(project, user), control.world.clock.now()
    made = await discussions.open_issue(*scene, title=title, confidential=confidential, at=now)
    return {"id": made.id, "iid": made.iid}


async def act(
    kind: str, control: Control, *, project: str, user: str = "", iid: int, action: str, text: str = "Looks good"
) -> Data:
    """`close`, `reopen` or `comment` on an issue or merge request; `approve` or `merge` a merge request."""
    forge, place, by = control.scene(project, user)
    things: Sequence[MergeRequest | Issue] = place.issues if kind == "issue" else place.merge_requests
    deeds, now = _DEEDS[kind], control.world.clock.now()
    if not (subject := next((thing for thing in things if thing.iid == iid), None)):
        raise BadRequest(f"there is no number {iid}")
    if action == "comment":
        await discussions.comment(forge, place, by, subject, text, at=now)
    elif deed := deeds.get(action):
        await deed(forge, place, by, subject, at=now)
    else:
        raise BadRequest(f"action: {action!r} is none of comment, {', '.join(deeds)}")
    return {"iid": iid, "state": subject.state}


_DEEDS: dict[str, dict[str, Callable[..., Awaitable[None]]]] = {
    "issue": {"close": discussions.close, "reopen": discussions.reopen},
    "merge_request": {
        "merge": discussions.merge,
        "close": discussions.close,
        "reopen": discussions.reopen,
        "approve": discussions.approve,
    },
}


async def pipeline(
    control: Control, *, project: str, user: str = "", ref: str = "main", status: PipelineStatus = "success"
) -> Data:
    """Runs a pipeline on a branch, to its end."""
    (forge, place, by), now = control.scene(project, user), control.world.clock.now()
    made = await ci.start_pipeline(forge, place, by, ref, commit=await forge.newest(place, ref), at=now)
    await ci.run_pipeline(forge, place, made, at=now)
    await ci.finish_pipeline(forge, place, made, status, at=now)
    return {"id": made.id, "status": made.status}


class Command:
    """One door: a function that takes Control, and the shape of its JSON."""

    def __init__(self, run: Callable[..., Awaitable[object]], *bound: object) -> None:
        self.run = partial(run, *bound)
        self.about = inspect.cleandoc(run.__doc__ or "")
        types, parameters = get_type_hints(run, include_extras=True), inspect.signature(run).parameters.values()
        self.shape = msgspec.defstruct(
            run.__name__,
            [
                (one.name, types[one.name], msgspec.NODEFAULT if one.default is one.empty else one.default)
                for one in parameters
                if one.kind is one.KEYWORD_ONLY
            ],
            kw_only=True,
            forbid_unknown_fields=True,
        )

    async def __call__(self, control: Control, body: bytes) -> object:
        """Raises MsgspecError for a body that does not fit."""
        asked = msgspec.json.decode(body or b"{}", type=self.shape)
        return await self.run(control, **{name: getattr(asked, name) for name in self.shape.__struct_fields__})


COMMANDS = {command.__name__: Command(command) for command in (clock, settings, faults, token, activity, push,
            merge_request, issue, pipeline)} | {f"{kind}/action": Command(act, kind) for kind in _DEEDS}  # fmt: skip
