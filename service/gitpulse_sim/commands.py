"""What other programs may make the simulator do, one struct a command; `control` serves them over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, date, datetime
from typing import Annotated, TypeVar

import msgspec

from gitpulse_sim import activity, ci, issues, reviews, words
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.faults import Fault
from gitpulse_sim.forge import Forge
from gitpulse_sim.instance import Instance
from gitpulse_sim.people import User
from gitpulse_sim.repository import Draft, Person
from gitpulse_sim.work import Issue, MergeRequest, PipelineStatus
from gitpulse_sim.world import Project


class Control:
    """What the commands work on, and the replay that is under way."""

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
    """One door: a POST whose JSON body fills the fields."""

    async def run(self, control: Control) -> object:
        raise NotImplementedError


class InProject(Command, kw_only=True):
    """A command on one project, by somebody: its first member unless a username is given."""

    project: str
    user: str = ""

    def project_in(self, control: Control) -> Project:
        return control.world.project(self.project)

    def user_in(self, control: Control) -> User:
        if self.user:
            return control.world.user(self.user)
        project = self.project_in(control)
        for number in project.members | project.group.members:
            return control.world.users[number]
        raise BadRequest(f"{self.project} has no members; say which user acts")


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
        names = [field.name for field in fields(instance) if not field.name.startswith("_")]
        if unknown := self.set.keys() - set(names):
            raise BadRequest(f"no such setting: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        changed = msgspec.convert({name: getattr(instance, name) for name in names} | self.set, Instance)
        changed.check()
        for name in names:
            setattr(instance, name, getattr(changed, name))
        return {name: getattr(instance, name) for name in names}


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


class Token(Command, kw_only=True):
    """Revokes a token, or changes its scopes or its last day; found by its name."""

    name: str
    revoked: bool | None = None
    scopes: list[str] | None = None
    expires_at: date | None = None

    async def run(self, control: Control) -> object:
        for token in control.world.tokens.values():
            if token.name == self.name:
                token.revoked = token.revoked if self.revoked is None else self.revoked
                token.scopes = token.scopes if self.scopes is None else tuple(self.scopes)
                token.expires_at = self.expires_at or token.expires_at
                return {"name": token.name, "revoked": token.revoked, "scopes": token.scopes}
        raise BadRequest(f"there is no token named {self.name}")


class Activity(Command, kw_only=True):
    """Starts to replay a team's work of so many days; all projects unless some are named. See GET activity."""

    projects: list[str] = []
    days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14
    seed: int = 1

    async def run(self, control: Control) -> object:
        if control.replay and not control.replay.done():
            raise BadRequest("a replay is under way; see GET /-/sim/activity")
        world = control.world
        projects = [world.project(path) for path in self.projects] or list(world.projects.values())
        control.progress = activity.Progress(0, 0.0)

        def report(progress: activity.Progress) -> None:
            control.progress = progress

        control.replay = asyncio.create_task(
            activity.replay(control.forge, projects, days=self.days, seed=self.seed, progress=report)
        )
        return {"started": [project.full_path for project in projects], "days": self.days}


class Push(InProject, kw_only=True):
    """Pushes commits to a branch, which is made where it is missing."""

    branch: str = "main"
    commits: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    message: str = "Change something"

    async def run(self, control: Control) -> object:
        project, user, now = self.project_in(control), self.user_in(control), control.world.clock.now()
        drafts = [
            Draft(
                message=f"{self.message} ({number})" if self.commits > 1 else self.message,
                author=Person(user.name, user.email),
                at=now,
                files={f"{words.slug(self.branch)}/{now:%Y%m%d-%H%M%S%f}-{number}.txt": f"{self.message}\n"},
            )
            for number in range(1, self.commits + 1)
        ]
        change = await control.forge.push(project, user, self.branch, drafts)
        return {"ref": change.ref, "before": change.before, "after": change.after, "commits": change.total}


class OpenMergeRequest(InProject, kw_only=True):
    """Opens a merge request from a branch that was pushed."""

    source: str
    title: str = "A change"
    target: str | None = None

    async def run(self, control: Control) -> object:
        made = await reviews.open_merge_request(
            control.forge, self.project_in(control), self.user_in(control), self.source,
            title=self.title, target=self.target, at=control.world.clock.now(),
        )  # fmt: skip
        return {"id": made.id, "iid": made.iid}


class MergeRequestAction(InProject, kw_only=True):
    """`merge`, `close`, `reopen`, `approve`, or `comment` on a merge request."""

    iid: int
    action: str
    text: str = "Looks good"

    async def run(self, control: Control) -> object:
        forge, project, user = control.forge, self.project_in(control), self.user_in(control)
        subject, at = _numbered(project.merge_requests, self.iid), control.world.clock.now()
        if self.action == "comment":
            await issues.comment(forge, project, user, subject, self.text, at=at)
        elif known := _REVIEWS.get(self.action):
            await known(forge, project, user, subject, at=at)
        else:
            raise BadRequest(f"action: {self.action!r} is none of comment, {', '.join(_REVIEWS)}")
        return {"iid": subject.iid, "state": subject.state}


class OpenIssue(InProject, kw_only=True):
    """Opens an issue."""

    title: str = "Something is wrong"
    confidential: bool = False

    async def run(self, control: Control) -> object:
        made = await issues.open_issue(
            control.forge, self.project_in(control), self.user_in(control), title=self.title,
            at=control.world.clock.now(), confidential=self.confidential,
        )  # fmt: skip
        return {"id": made.id, "iid": made.iid}


class IssueAction(InProject, kw_only=True):
    """`close`, `reopen` or `comment` on an issue."""

    iid: int
    action: str
    text: str = "Seen"

    async def run(self, control: Control) -> object:
        forge, project, user = control.forge, self.project_in(control), self.user_in(control)
        subject, at = _numbered(project.issues, self.iid), control.world.clock.now()
        if self.action == "comment":
            await issues.comment(forge, project, user, subject, self.text, at=at)
        elif known := _ISSUES.get(self.action):
            await known(forge, project, user, subject, at=at)
        else:
            raise BadRequest(f"action: {self.action!r} is none of comment, {', '.join(_ISSUES)}")
        return {"iid": subject.iid, "state": subject.state}


class RunPipeline(InProject, kw_only=True):
    """Runs a pipeline on a branch, to its end."""

    ref: str = "main"
    status: PipelineStatus = "success"

    async def run(self, control: Control) -> object:
        forge, project, now = control.forge, self.project_in(control), control.world.clock.now()
        newest = await forge.newest(project, self.ref)
        made = await ci.start_pipeline(forge, project, self.user_in(control), self.ref, commit=newest, at=now)
        await ci.run_pipeline(forge, project, made, at=now)
        await ci.finish_pipeline(forge, project, made, self.status, at=now)
        return {"id": made.id, "status": made.status}


_REVIEWS = {
    "merge": reviews.merge,
    "close": reviews.close,
    "reopen": reviews.reopen,
    "approve": reviews.approve,
}
_ISSUES = {"close": issues.close_issue, "reopen": issues.reopen_issue}

COMMANDS: dict[str, type[Command]] = {
    "clock": Clock,
    "settings": Settings,
    "faults": Faults,
    "token": Token,
    "activity": Activity,
    "push": Push,
    "merge_request": OpenMergeRequest,
    "merge_request/action": MergeRequestAction,
    "issue": OpenIssue,
    "issue/action": IssueAction,
    "pipeline": RunPipeline,
}


Numbered = TypeVar("Numbered", MergeRequest, Issue)


def _numbered(things: Sequence[Numbered], iid: int) -> Numbered:
    for thing in things:
        if thing.iid == iid:
            return thing
    raise BadRequest(f"there is no number {iid}")
