"""What reconciling needs of the world, as Protocols: a GitLab, a cluster or a folder in its place, and the directory.

Each raises the errors of `gitpulse_operator.errors` and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from gitpulse_operator.domain.delivery import Feedback, Log
from gitpulse_operator.domain.events import ParentKind
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.revival import Attempt
from gitpulse_operator.domain.rotation import Pace
from gitpulse_operator.domain.spec import ConnectionSpec
from gitpulse_operator.inventory import Inventory
from gitpulse_operator.reconcile.connections import OpenConnections
from gitpulse_operator.reconcile.memory import Memory
from gitpulse_operator.reconcile.resource import Body, Note, Ref, Resource
from gitpulse_service.contract import Access, Backfill, HookReport, Route, Team


@dataclass(frozen=True, slots=True)
class Place:
    """A project or group whose hooks the token may manage."""

    parent: Parent
    instance: str
    """The GitLab's base URL as it names itself, by which two connections to one GitLab are known as such."""


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What GitLab says of the token itself."""

    scopes: tuple[str, ...]
    expires_at: str | None
    """A date, or None: it does not expire."""


class GitLab(Protocol):
    """One GitLab, spoken to with one token."""

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash; the name of the instance everywhere."""
        ...

    def access(self) -> tuple[ConnectionSpec, str]:
        """How to speak to it, and the token."""
        ...

    async def version(self, *, fresh: bool = False) -> str:
        """Its version as it reports it, `19.1.2-ee`; asked once, unless a fresh answer is wanted."""
        ...

    def budget_left(self) -> float:
        """The share of a second's worth of requests that could be sent at once, 0 to 1. May be called in any thread."""
        ...

    async def token(self) -> TokenInfo | None:
        """Scopes and expiry of the token; None where it cannot tell, as with an OAuth token."""
        ...

    async def resolve(self, kind: ParentKind, target: str) -> Parent:
        """The project or group of this path or id. Raises TargetNotFound."""
        ...

    async def projects(self, group: Parent) -> list[Parent]:
        """All projects of a group and its subgroups that are not archived. Raises TargetNotFound."""
        ...

    async def places(self, kind: ParentKind, page: int) -> list[Place]:
        """A page (the first is 1) of the projects or groups whose hooks the token may manage; an empty one ends it."""
        ...

    async def hooks(self, parent: Parent) -> list[ObservedHook]:
        """All hooks there, ours and others'."""
        ...

    async def create_hook(self, parent: Parent, attributes: Mapping[str, str | bool]) -> ObservedHook: ...

    async def update_hook(self, parent: Parent, hook: int, attributes: Mapping[str, str | bool]) -> ObservedHook: ...

    async def delete_hook(self, parent: Parent, hook: int) -> None:
        """Removes a hook; one that is gone already is fine."""
        ...

    async def deliveries(self, parent: Parent, hook: int, *, status: str = "", limit: int = 20) -> Log:
        """The newest of what GitLab's log of the hook has, of this `status` (successful, server_failure, …) or all."""
        ...

    async def test_hook(self, parent: Parent, hook: int, trigger: str) -> Attempt:
        """Has GitLab make a test delivery, even of a hook that is off. Raises NotYourTurn, as GitLab limits these."""
        ...

    async def resend(self, parent: Parent, hook: int, row: int) -> Attempt:
        """Has GitLab send again what its log has under this number; limited like a test. Raises NotYourTurn."""
        ...


class Cluster(Protocol):
    """Kubernetes, or a folder in its place."""

    async def read(self, ref: Ref) -> Body | None:
        """A resource as it is now; None if there is none."""
        ...

    async def bodies(self, kind: str) -> list[Body]:
        """All resources of a kind as they are now."""
        ...

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The data of a Secret; None if there is none."""
        ...

    async def create_secret(self, owner: Resource, name: str, data: Mapping[str, bytes]) -> None:
        """Makes a Secret that goes with its owner. Raises SecretTaken if there is one of this name."""
        ...

    async def change_secret(
        self, owner: Resource, name: str, before: Mapping[str, bytes], changes: Mapping[str, bytes | None]
    ) -> None:
        """Sets or (None) removes keys of a Secret that we made. Raises ClusterUnavailable unless it is as `before`."""
        ...

    async def write_status(self, resource: Resource, patch: Body) -> Body | None:
        """Changes the status by a JSON merge patch; the resource afterwards, or None if it is gone."""
        ...

    async def memory(self, owner: Resource) -> bytes | None:
        """What was last remembered for a resource, beside its status; None: nothing."""
        ...

    async def remember(self, owner: Resource, data: bytes) -> None:
        """Keeps up to a MiB, which goes with its owner."""
        ...

    async def note(self, resource: Resource, note: Note) -> None:
        """Tells people, as an Event. Never fails."""
        ...


class Directory(Protocol):
    """What receivers and workers know: the routes of hooks, and the teams."""

    async def publish(self, *routes: Route) -> None:
        """Makes routes known, unless they are just so already."""
        ...

    async def withdraw(self, hook_id: str) -> None:
        """Makes the route unknown."""
        ...

    async def grant(self, access: Access) -> None:
        """Lets workers ask a GitLab through this connection."""
        ...

    async def revoke(self, name: str) -> None:
        """No longer, for the connection is gone."""
        ...

    async def mark_complete(self) -> None:
        """Says that every route that there is has been published: what is not there is not ours."""
        ...

    async def is_complete(self) -> bool:
        """Whether that was said; no longer so once its data was lost."""
        ...

    async def version(self) -> str:
        """Id of the newest change; `0-0` if there was none."""
        ...

    async def feedback(self, *hook_ids: str) -> list[Feedback]:
        """What receivers have noted about each of these hooks, in one go."""
        ...

    async def note_off(self, hook_id: str, last: int) -> None:
        """Notes that GitLab drops what happens since `last` (Unix milliseconds; 0: now), if it is not noted yet."""
        ...

    async def hand_over(self, request: Backfill) -> None:
        """Asks workers for a backfill, in place of one of the same hook that they are not done with."""
        ...

    async def report(self, key: str, report: HookReport) -> None:
        """Tells people of a hook, unless they know just that already."""
        ...

    async def withdraw_report(self, key: str) -> None:
        """Tells them no more of it."""
        ...

    async def teams(self) -> list[tuple[str, str]]:
        """Namespace and name of all teams that are known there."""
        ...

    async def publish_team(self, team: Team) -> None:
        """Makes a team known, unless it is just so already."""
        ...

    async def withdraw_team(self, namespace: str, name: str) -> None:
        """Makes a team unknown; one that is not known is fine."""
        ...

    async def acknowledgements(self) -> Mapping[str, tuple[str, int]]:
        """Receiver -> the version of the directory that it has loaded, and when it said so (Unix milliseconds)."""
        ...


Connect = Callable[[ConnectionSpec, str], GitLab]
"""Opens a GitLab with a token; makes no request."""

Clock = Callable[[], datetime]
Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class World:
    """All that reconciling needs, and who we are in it."""

    cluster: Cluster
    connections: OpenConnections
    directory: Directory
    installation_key: bytes
    public_url: str
    deletion_deadline: float
    pace: Pace
    clock: Clock
    entropy: Entropy
    history: timedelta = timedelta()
    """How much of what was before a hook is fetched when it is new."""
    memory: Memory = field(default_factory=Memory)
    inventory: Inventory = field(default_factory=Inventory)
