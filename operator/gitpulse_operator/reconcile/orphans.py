"""Hooks of ours that nobody wants any more: what deletions, moves and lost tokens have left in GitLab.

GitLab is looked at first and the resources after that, so that a hook made meanwhile always finds its resource. Where
it cannot be told whether a hook is wanted, or whose it is, it is no orphan.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, get_args

from gitpulse_operator.domain.events import ParentKind
from gitpulse_operator.domain.spec import parse_project
from gitpulse_operator.errors import Forbidden, OperatorError, RateLimited, TargetNotFound
from gitpulse_operator.names import CONNECTION, HOOK_NAME, PROJECT
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import GitLab, Place, World
from gitpulse_operator.reconcile.resource import Resource
from gitpulse_service.contract import WEBHOOK_PATH, hook_id, installation_id

T = TypeVar("T")

OUR_URL = re.compile(re.escape(WEBHOOK_PATH) + "/([a-z2-7]{32})$")
AT_ONCE = 8
"""Places that are looked at together; their requests wait for the connection's budget."""
PAUSE = 60.0
"""Seconds without requests after a 429 that names no time."""


@dataclass(slots=True)
class Orphan:
    """A hook of ours that no GitPulseProject wants. Until that is known it is one that may be ours."""

    gitlab: GitLab
    place: Place
    hook: int
    name: str
    url: str
    why: str = ""
    """Why nobody wants it."""

    @property
    def url_id(self) -> str:
        """The hook id at the end of its URL; empty: it is no URL of GitPulse."""
        return found[1] if (found := OUR_URL.search(self.url)) else ""

    @property
    def named(self) -> tuple[str, str]:
        """The installation and the `namespace/name` in its name; empty: that is no name of GitPulse."""
        return (found[1], found[2]) if (found := HOOK_NAME.fullmatch(self.name)) else ("", "")

    async def delete(self) -> None:
        """Removes it from GitLab."""
        await patiently(partial(self.gitlab.delete_hook, self.place.parent, self.hook))


@dataclass(slots=True)
class Scan:
    """What a look at all of GitLab has found."""

    orphans: list[Orphan] = field(default_factory=list)
    places: int = 0
    """Projects and groups that were looked at."""
    troubles: list[str] = field(default_factory=list)
    """What could not be looked at or told, so that there may be more."""


async def find_orphans(
    world: World, *, namespaces: Collection[str] = (), tell: Callable[[str, int, int], None] = lambda *_: None
) -> Scan:
    """Looks at all that the GitLabConnections' tokens may manage, with one request for each project and group.

    `namespaces`: all that the cluster shows us; what belongs to others is left out. `tell` is told as it goes on: the
    GitLab, how many places have been looked at, and of how many. Raises ClusterUnavailable.
    """
    scan, wishes = Scan(), _Wishes(world, namespaces)
    suspects: dict[tuple[str, str], list[Orphan]] = {}
    for body in await world.cluster.bodies(CONNECTION):
        ref = Resource.from_body(body).ref
        try:
            gitlab = await world.connections.open(ref.namespace, ref.name)
            places = await _places(gitlab)
            wishes.aliases[gitlab.url] = places[0].instance if places else gitlab.url
            new = [place for place in places if (place.instance, place.parent.key) not in suspects]
            for start in range(0, len(new), AT_ONCE):
                tell(gitlab.url, start, len(new))
                batch = new[start : start + AT_ONCE]
                # All are awaited, also after an error: none goes on unseen.
                found = await asyncio.gather(*(_look(gitlab, place, world) for place in batch), return_exceptions=True)
                for place, answer in zip(batch, found, strict=True):
                    if isinstance(answer, BaseException):
                        raise answer
                    suspects[place.instance, place.parent.key] = answer
        except OperatorError as error:
            scan.troubles.append(f"{ref}: {error}")
    scan.places = len(suspects)
    for body in await world.cluster.bodies(PROJECT):
        resource = Resource.from_body(body)
        try:
            await wishes.add(resource)
        except OperatorError as error:
            scan.troubles.append(f"{resource.ref}: what it wants cannot be told: {error}")
    for suspect in (each for found in suspects.values() for each in found):
        if why := wishes.why_unwanted(suspect):
            suspect.why = why
            scan.orphans.append(suspect)
    return scan


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks GitLab, as often as it says that there were too many requests."""
    while True:
        try:
            return await ask()
        except RateLimited as error:
            await asyncio.sleep(error.retry_after or PAUSE)


async def _places(gitlab: GitLab) -> list[Place]:
    places: list[Place] = []
    for kind in get_args(ParentKind):
        page = 1
        while rows := await patiently(partial(gitlab.places, kind, page)):
            places += rows
            page += 1
    return places


async def _look(gitlab: GitLab, place: Place, world: World) -> list[Orphan]:
    try:
        hooks = await patiently(partial(gitlab.hooks, place.parent))
    except (Forbidden, TargetNotFound):  # no licence for group hooks, or gone by now
        return []
    shown = [(hook.id, str(hook.attributes.get("name") or ""), str(hook.attributes["url"])) for hook in hooks]
    found, ours = [Orphan(gitlab, place, *each) for each in shown], installation_id(world.installation_key)
    return [each for each in found if (each.named[0] == ours if each.named[0] else each.url_id)]


class _Wishes:
    """Which hooks the GitPulseProjects want. `aliases`: a connection's URL -> what the GitLab there calls itself."""

    def __init__(self, world: World, namespaces: Collection[str]) -> None:
        self._world = world
        self._namespaces = namespaces
        self.aliases: dict[str, str] = {}
        self._uids: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._wanting: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._trees: list[tuple[str, str, str]] = []
        """Instance, path and resource of each group all of whose projects have a hook."""

    async def add(self, resource: Resource) -> None:
        """Raises what keeps us from knowing what it wants; then none of its hooks is an orphan."""
        name, found = f"{resource.ref.namespace}/{resource.ref.name}", Findings.remembered(resource)
        self._uids[name] = resource.uid
        self._unknown.add(name)
        if known := found.parent:  # wanted until the operator itself has removed it
            self._want(name, found.instance, known.key)
        spec = parse_project(resource.spec)
        gitlab = await self._world.connections.open(resource.ref.namespace, spec.connection)
        modes = {spec.group_mode, resource.status.get("groupMode")}
        spreads = spec.kind == "Group" and bool(modes & {"Auto", "ProjectHooks"})
        if known and (known.kind, found.instance) != (spec.kind, gitlab.url):
            known = None
        if known and spec.target.lower() not in (known.path.lower(), str(known.id)):
            known = None
        if known is None or spreads:  # the tree is found by the group's present path
            try:
                known = await patiently(partial(gitlab.resolve, spec.kind, str(known.id) if known else spec.target))
            except TargetNotFound:
                known = known or found.parent
        if known and (spec.kind == "Project" or modes & {"Auto", "GroupHook"}):
            self._want(name, gitlab.url, known.key)
        if known and spreads:
            self._trees.append((self._instance(gitlab.url), f"{known.path.lower()}/", name))
        self._unknown.discard(name)

    def why_unwanted(self, hook: Orphan) -> str:
        """Empty where somebody wants it, or may, or it is not ours."""
        place, owner = hook.place, hook.named[1]
        wanting = set(self._wanting[place.instance, place.parent.key])
        if place.parent.kind == "Project":
            within = f"{place.parent.path.lower()}/"
            wanting |= {name for at, path, name in self._trees if at == place.instance and within.startswith(path)}
        if owner in wanting or self._makers(hook, wanting):
            return ""
        makers = self._makers(hook, self._uids)
        if self._unknown & {owner, *makers}:
            return ""
        owner = owner or next(iter(makers), "")
        if owner in self._uids:
            return f"GitPulseProject {owner} wants no hook here"
        if owner:
            shown = not self._namespaces or owner.partition("/")[0] in self._namespaces
            return f"GitPulseProject {owner} is gone" if shown else ""
        home = f"{self._world.public_url}{WEBHOOK_PATH}/{hook.url_id}"
        return "its GitPulseProject is gone" if hook.url == home and not self._namespaces else ""

    def _makers(self, hook: Orphan, names: Collection[str]) -> list[str]:
        """Those of these resources whose hook in this place has the id that is in its URL."""
        key, parent = self._world.installation_key, hook.place.parent.key
        return [name for name in names if hook.url_id == hook_id(key, self._uids[name], parent)]

    def _want(self, name: str, instance: str, key: str) -> None:
        self._wanting[self._instance(instance), key].add(name)

    def _instance(self, url: str) -> str:
        return self.aliases.get(url, url)
