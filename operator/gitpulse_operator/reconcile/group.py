"""Follows a group by a hook in each of its projects, present and future. See docs/decisions/0005.

Each project becomes a member: a resource that only the inventory knows, looked after by the same code as any other one.
A run over the group lists its projects, makes members of new ones, sends off those that are gone, leads the rotation of
the secret that they share, and adds up what their runs have found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from gitpulse_operator.domain.conditions import READY, find, timestamp
from gitpulse_operator.domain.events import GROUP_ONLY
from gitpulse_operator.domain.fleet import Status, Sum, add_up, given, pack, unpack
from gitpulse_operator.domain.hooks import Parent
from gitpulse_operator.domain.plan import Pushed
from gitpulse_operator.domain.spec import ProjectSpec
from gitpulse_operator.errors import OperatorError, TargetNotFound
from gitpulse_operator.names import FINALIZER
from gitpulse_operator.reconcile import hook
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import GitLab, World
from gitpulse_operator.reconcile.resource import Body, Note, Ref, Resource, mapping
from gitpulse_operator.reconcile.rotation import Rotation, stored

LIST_EVERY = timedelta(minutes=5)
"""A run that comes sooner than so long after a listing goes by that one, unless the spec or somebody asks for more."""
AT_ONCE = 8
"""Hooks that are removed at one time."""


def is_listing_due(resource: Resource, world: World) -> bool:
    """Whether the next run asks GitLab which projects there are."""
    memory = world.memory.group(resource.ref)
    since = memory.listed_at
    return since is None or memory.listed_for != resource.wishes or world.clock() - since >= LIST_EVERY


async def keep_routes(resource: Resource, found: Findings, world: World) -> None:
    """Tells receivers of every member that is known from earlier runs, whatever GitLab and the spec are like by now."""
    await _load(resource, found, world)
    if world.inventory.members(resource.ref):
        world.memory.group(resource.ref).secret = await stored(resource, world)
        await _publish(resource, world)


async def follow(resource: Resource, spec: ProjectSpec, found: Findings, world: World) -> None:
    """One run over the group. Raises OperatorError."""
    gitlab = await world.connections.open(resource.ref.namespace, spec.connection)
    memory = world.memory.group(resource.ref)
    before = hook.known_parent(found, gitlab)
    found.group_mode = "ProjectHooks"
    if before is None or is_listing_due(resource, world):
        memory.listed_of, projects = await _list(gitlab, spec, before)
        found.wake += _enlist(resource, gitlab.url, projects, world)
        await _keep(resource, world)  # before any of them gets a hook, which would else be forgotten in a crash
        memory.listed_for, memory.listed_at, memory.listed_in = resource.wishes, world.clock(), gitlab.url
    parent = memory.listed_of
    assert parent is not None
    found.credentials_valid = True
    if before is None:
        await hook.move_in(resource, found, gitlab, parent, world)
    route_id = hook.url_id(resource, parent, world)
    stands = found.pushed if found.pushed and found.pushed.hook_id else None
    secrets = await Rotation.load(resource, spec, found, gitlab, parent, route_id, found.pushed, world)
    if stands is None and spec.adoption_policy != "Observe":
        statuses = [status for status, _ in _members(resource, world).values()]
        now = given(statuses, [generation.number for generation in secrets.held])
        pushed = Pushed(0, now.generation, "Token" if now.verification == "Token" else secrets.verification)
        if await secrets.lead(pushed, proven=now.proven):
            found.wake += world.inventory.members(resource.ref)
            memory.secret = secrets.data
            await _publish(resource, world)
    memory.secret = secrets.data
    found.sum = _sum(resource, world)
    if spec.adoption_policy != "Observe" and (stands is None or found.sum.complete):
        if stands and before and before.id not in (_members(resource, world) if before.kind == "Project" else ()):
            await hook.remove(gitlab, before, hook.desired_for(resource, spec, before, world), stands)
            await world.directory.withdraw(hook.url_id(resource, before, world))
            found.notes.append(
                Note("Normal", "HookRemoved", f"Each project has its hook now: that of {before.path} is gone")
            )
        if stands:
            found.pushed = None
        found.parent = parent
    await _keep(resource, world)


async def leave(resource: Resource, found: Findings, world: World) -> None:
    """Sends off all members: one hook stands in their place. Raises OperatorError."""
    refs = world.inventory.members(resource.ref)
    world.memory.group(resource.ref).listed_at = None
    for ref in refs:
        if found.parent and found.parent.key == f"project/{ref.member}":  # its hook is the one that stands now
            await world.directory.withdraw_report(ref.key)
            world.inventory.drop(ref)
        else:
            found.wake += _send_off(ref, world)
    await _keep(resource, world)
    if not world.inventory.members(resource.ref):
        found.group_mode = "GroupHook"


def hold(resource: Resource, world: World) -> None:
    """Lets the members know of a spec by which nothing is to be done."""
    for ref in world.inventory.members(resource.ref):
        body = world.inventory.get(ref) or {}
        world.inventory.put(ref, _body(resource, ref.member, mapping(body.get("status")), _leaving(body)))


async def remove_all(resource: Resource, found: Findings, world: World) -> None:
    """Removes the hooks of all projects. Raises the first error once all were tried, or the time for that is over."""
    await _load(resource, found, world)
    some, in_vain = asyncio.Semaphore(AT_ONCE), 0

    async def remove(ref: Ref) -> None:
        nonlocal in_vain
        member = Resource.from_body(world.inventory.get(ref) or {})
        remembered = Findings.remembered(member)
        async with some:
            given_up = in_vain >= AT_ONCE and resource.waited(world.clock()) >= world.deletion_deadline
            if given_up:
                member = replace(member, spec={**member.spec, "deletionPolicy": "Orphan"})
            try:
                await hook.take_away(member, remembered, world)
            except OperatorError as error:
                in_vain += error.retryable
                raise
            in_vain = in_vain if given_up else 0
        world.inventory.drop(ref)

    refs = world.inventory.members(resource.ref)
    results = await asyncio.gather(*map(remove, refs), return_exceptions=True)
    if not refs:
        return
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, OperatorError):
            raise result
    await _keep(resource, world)
    if trouble := next((result for result in results if isinstance(result, OperatorError)), None):
        raise trouble


# --- GitLab's list of projects ----------------------------------------------------------------------------------------


async def _list(gitlab: GitLab, spec: ProjectSpec, before: Parent | None) -> tuple[Parent, list[Parent]]:
    """The group, followed by its id once it is known, and its projects."""
    if before and before.kind == "Group" and spec.target.lower() in (before.path.lower(), str(before.id)):
        try:
            return before, await gitlab.projects(before)
        except TargetNotFound:
            pass  # perhaps made anew under its old name
    parent = await hook.found_at(gitlab, spec)
    return parent, await gitlab.projects(parent)


def _enlist(resource: Resource, instance: str, projects: list[Parent], world: World) -> list[Ref]:
    """Brings the members in line with a listing. Returns those that are worth a run."""
    inventory = world.inventory
    worth: list[Ref] = []
    for project in projects:
        ref = Ref(resource.ref.kind, resource.ref.namespace, resource.ref.name, project.id)
        before = inventory.get(ref)
        known = Resource.from_body(before) if before else None
        status = known.status if known and not known.deleted_at else {}  # one that was leaving comes as a new one
        target = {"kind": "Project", "id": project.id, "path": project.path, "instance": instance}
        stays = mapping(status.get("target")).get("instance", instance) == instance
        if stays:  # else its own run sees what to do
            status = {**status, "target": target}
        inventory.put(ref, _body(resource, project.id, status, None))
        ready = find(known.conditions, READY) if known else None
        same = known and known.deleted_at is None and known.wishes == resource.wishes
        if not (same and stays) or ready is None or ready.status != "True":
            worth.append(ref)
    listed = {project.id for project in projects}
    gone = [ref for ref in inventory.members(resource.ref) if ref.member not in listed]
    return worth + [woken for ref in gone for woken in _send_off(ref, world)]


def _send_off(ref: Ref, world: World) -> list[Ref]:
    """The next run over it takes its hook away. Returns whom to wake for that."""
    body = world.inventory.get(ref) or {}
    if _leaving(body):
        return []
    meta = {**mapping(body.get("metadata")), "deletionTimestamp": timestamp(world.clock())}
    world.inventory.put(ref, {**body, "metadata": meta})
    return [ref]


# --- members ----------------------------------------------------------------------------------------------------------


def _body(resource: Resource, project: int, status: Body, leaving: str | None) -> Body:
    """A member as if it were a GitPulseProject for this project, with the uid and secret of its group's."""
    spec = {name: value for name, value in resource.spec.items() if name not in ("group", "groupMode")}
    events = spec.get("events")
    if isinstance(events, list):
        spec["events"] = [event for event in events if event not in GROUP_ONLY]
    return {
        "kind": resource.ref.kind,
        "metadata": {
            "namespace": resource.ref.namespace,
            "name": resource.ref.name,
            "uid": resource.uid,
            "generation": resource.generation,
            "annotations": resource.annotations,
            "finalizers": [FINALIZER],
            "member": project,
            **({"deletionTimestamp": leaving} if leaving else {}),
        },
        "spec": spec | {"project": str(project)},
        "status": status,
    }


def _members(resource: Resource, world: World) -> Mapping[int, tuple[Status, str | None]]:
    """Project id -> its status, and since when it is on its way out, if it is."""
    bodies = {ref.member: world.inventory.get(ref) or {} for ref in world.inventory.members(resource.ref)}
    return {project: (mapping(body.get("status")), _leaving(body)) for project, body in bodies.items()}


def _leaving(body: Body) -> str | None:
    """Since when it is on its way out."""
    since = mapping(body.get("metadata")).get("deletionTimestamp")
    return since if isinstance(since, str) else None


def _sum(resource: Resource, world: World) -> Sum:
    return add_up({project: status for project, (status, leaving) in _members(resource, world).items() if not leaving})


async def _publish(resource: Resource, world: World) -> None:
    """Tells receivers of every hook that there is by earlier runs."""
    members = [Resource.from_body(world.inventory.get(ref) or {}) for ref in world.inventory.members(resource.ref)]
    routes = [await hook.known_route(member, Findings.remembered(member), world) for member in members]
    await world.directory.publish(*[route for route in routes if route])


async def _load(resource: Resource, found: Findings, world: World) -> None:
    """Brings back the members that an earlier operator knew, and wakes them."""
    memory = world.memory.group(resource.ref)
    if memory.packed is not None or ("group" not in resource.spec and found.group_mode != "ProjectHooks"):
        return
    packed = await world.cluster.memory(resource) or b""
    for project, (status, leaving) in unpack(packed).items():
        ref = Ref(resource.ref.kind, resource.ref.namespace, resource.ref.name, project)
        world.inventory.put(ref, _body(resource, project, status, leaving))
        found.wake.append(ref)
    memory.packed = packed


async def _keep(resource: Resource, world: World) -> None:
    """Writes down the members, if anything is new of them that must outlive the operator."""
    members, memory = _members(resource, world), world.memory.group(resource.ref)
    packed = pack(members) if members else b""
    if packed != (memory.packed or b""):
        await world.cluster.remember(resource, packed)
        memory.packed = packed
