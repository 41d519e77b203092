"""The simulated instance's state: users, groups, projects, roles, tokens. It sends nothing and serves nothing."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitpulse_sim.clock import Clock
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.faults import Fault
from gitpulse_sim.hook import Hook, ParentKind, toggles_of
from gitpulse_sim.instance import Instance
from gitpulse_sim.people import AccessToken, Role, User
from gitpulse_sim.repository import Repository
from gitpulse_sim.work import Deployment, Environment, Issue, Label, MergeRequest, Note, Pipeline, Release

if TYPE_CHECKING:
    from gitpulse_sim.payloads.push import RefChange


TIERS = {"development": "review", "testing": "test", "staging": "stag", "production": "prod"}
"""What GitLab takes an environment for, by a word in its name."""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """What a group and a project have in common."""

    id: int
    path: str
    name: str
    created_at: datetime
    members: dict[int, Role] = field(default_factory=dict)
    hooks: dict[int, Hook] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Group(Place):
    """A group, perhaps within another."""

    parent: Group | None = None
    kind: ParentKind = field(default="group", init=False)

    @property
    def full_path(self) -> str:
        return f"{self.parent.full_path}/{self.path}" if self.parent else self.path

    def lineage(self) -> list[Group]:
        """This group and those above it, the top-level one last."""
        return [self, *(self.parent.lineage() if self.parent else ())]


@dataclass(slots=True, kw_only=True, eq=False)
class Project(Place):
    """A project with its repository and all that was made in it."""

    description: str
    group: Group
    repository: Repository
    default_branch: str = "main"
    archived: bool = False
    """Read-only: nothing is pushed to it."""
    labels: dict[str, Label] = field(default_factory=dict)
    merge_requests: list[MergeRequest] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    environments: dict[str, Environment] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    pushes: list[tuple[datetime, User, RefChange]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    """How many events of each kind (by toggle) happened here, whether or not a hook wanted them."""
    last_event_at: datetime | None = None
    kind: ParentKind = field(default="project", init=False)

    @property
    def full_path(self) -> str:
        return f"{self.group.full_path}/{self.path}"

    @property
    def last_activity_at(self) -> datetime:
        return self.last_event_at or self.created_at

    def lineage(self) -> list[Group | Project]:
        """The project and the groups above it, the top-level one last."""
        return [self, *self.group.lineage()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Something that users may sign in to with this GitLab."""

    uid: str
    secret: str = field(repr=False)
    name: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]


Parent = Project | Group
"""What a hook can belong to."""

P = TypeVar("P", Project, Group)


class World:
    """One simulated instance. Made and changed from one thread only, the one that serves it. Raises GitFailed."""

    def __init__(self, instance: Instance | None = None, clock: Clock | None = None) -> None:
        self.instance = instance or Instance()
        self.clock = clock or Clock()
        self.url = ""
        """Base URL without trailing slash; set when it is served."""
        self.users: dict[int, User] = {}
        self.groups: dict[int, Group] = {}
        self.projects: dict[int, Project] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.applications: dict[str, Application] = {}
        self.faults: list[Fault] = []
        self.manual_calls: dict[tuple[str, str, int, int], list[float]] = {}
        """When tests and resends were asked for: (what, parent kind, parent, user) -> Unix times."""
        self._last_ids: Counter[str] = Counter()
        self.routes: dict[str, int] = {}
        """Full path -> project, also the paths that one had before it was moved."""
        self._folder = Path(tempfile.mkdtemp(prefix="gitpulse-sim-"))
        self.forget = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        """Removes the repositories from the disk; happens by itself when the world or the process ends."""
        Repository(self._folder).git("version")  # that git is missing is said now, not at the first push

    @property
    def parents(self) -> list[Parent]:
        """Everything that can have hooks."""
        return [*self.projects.values(), *self.groups.values()]

    def next_id(self, kind: str) -> int:
        self._last_ids[kind] += 1
        return self._last_ids[kind]

    def add_user(self, username: str, name: str, email: str, **more: Any) -> User:  # noqa: ANN401 - as User has them
        user = User(id=self.next_id("user"), username=username, name=name, email=email, **more)
        self.users[user.id] = user
        return user

    def add_token(self, user: User, text: str, **more: Any) -> AccessToken:  # noqa: ANN401 - as AccessToken has them
        token = AccessToken(id=self.next_id("token"), user=user, text=text, created_at=self.clock.now(), **more)
        self.tokens[text] = token
        return token

    def add_application(
        self, name: str, redirect_uris: Sequence[str], scopes: Sequence[str] = ("openid", "email")
    ) -> Application:
        """Registers it: what `Add new application` in GitLab does."""
        made = Application(
            uid=secrets.token_hex(32), secret=f"gloas-{secrets.token_hex(32)}", name=name,
            redirect_uris=tuple(redirect_uris), scopes=tuple(scopes),
        )  # fmt: skip
        self.applications[made.uid] = made
        return made

    def add_group(self, path: str, name: str | None = None, *, parent: Group | None = None) -> Group:
        group = Group(
            id=self.next_id("group"), path=path, name=name or path.capitalize(), parent=parent,
            created_at=self.clock.now(),
        )  # fmt: skip
        self.groups[group.id] = group
        return group

    def label(self, project: Project, title: str) -> Label:
        """The project's label of that name; made where it is missing."""
        if title not in project.labels:
            number, now = self.next_id("label"), self.clock.now()
            project.labels[title] = Label(id=number, title=title, project_id=project.id, created_at=now)
        return project.labels[title]

    def environment(self, project: Project, name: str) -> Environment:
        """The project's environment of that name; made where it is missing, of the tier that GitLab would guess."""
        if name not in project.environments:
            tier = next((tier for tier, word in TIERS.items() if word in name), "other")
            project.environments[name] = Environment(
                id=self.next_id("environment"), name=name, tier=tier, created_at=self.clock.now()
            )
        return project.environments[name]

    def add_hook(self, parent: Parent, url: str) -> Hook:
        """A hook that wants everything."""
        hook = Hook(
            id=self.next_id("hook"), parent_kind=parent.kind, parent_id=parent.id, created_at=self.clock.now(),
            url=url, events=set(toggles_of(parent.kind, self.instance)),
        )  # fmt: skip
        parent.hooks[hook.id] = hook
        return hook

    def add_project(self, path: str, group: Group, *, name: str | None = None, description: str = "") -> Project:
        number = self.next_id("project")
        project = Project(
            id=number, path=path, name=name or path.capitalize(), description=description, group=group,
            created_at=self.clock.now(), repository=Repository(self._folder / f"{number}.git"),
        )  # fmt: skip
        self.projects[number] = project
        self.routes[project.full_path] = number
        return project

    def move(self, project: Project, *, group: Group | None = None, path: str = "") -> None:
        """Transfers a project to another group, or renames it. Its old path leads to it until another one takes it."""
        project.group, project.path = group or project.group, path or project.path
        self.routes[project.full_path] = project.id

    def find_project(self, reference: str | int) -> Project | None:
        """By number, by full path, or by one that it had before it moved."""
        known = self.routes.get(reference) if isinstance(reference, str) else None
        return self.projects.get(known or 0) or _find(self.projects, reference)

    def find_group(self, reference: str | int) -> Group | None:
        return _find(self.groups, reference)

    def project(self, reference: str | int) -> Project:
        """As find_project. Raises BadRequest."""
        if project := self.find_project(reference):
            return project
        raise BadRequest(f"there is no project {reference}; there are {[p.full_path for p in self.projects.values()]}")

    def user(self, username: str) -> User:
        """Raises BadRequest."""
        for user in self.users.values():
            if user.username == username:
                return user
        raise BadRequest(f"there is no user {username}; there are {[u.username for u in self.users.values()]}")

    def role(self, user: User, parent: Parent) -> Role:
        """The highest role that this user has there, directly or through a group above."""
        return max(place.members.get(user.id, Role.NONE) for place in parent.lineage())

    def hooks_for(self, parent: Parent) -> list[Hook]:
        """The hooks that hear of what happens there: its own and, where licensed, those of the groups above."""
        heard = [one for one in parent.lineage() if self.instance.has_group_hooks or one.kind == "project"]
        return [hook for place in heard for hook in place.hooks.values()]

    def parent_of(self, hook: Hook) -> Parent:
        return self.projects[hook.parent_id] if hook.parent_kind == "project" else self.groups[hook.parent_id]


def _find(places: dict[int, P], reference: str | int) -> P | None:
    if isinstance(reference, int) or reference.isdigit():
        return places.get(int(reference))
    return next((place for place in places.values() if place.full_path == reference), None)
