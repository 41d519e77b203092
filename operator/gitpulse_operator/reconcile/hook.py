"""Looks after one hook, of a project or a group: observe, plan, act.

This is the one path to a hook. Any step may be the last one before a crash; the next run goes on from what it observes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from gitpulse_operator.domain import rotation
from gitpulse_operator.domain.conditions import HOOK_INSTALLED, find
from gitpulse_operator.domain.credentials import HookSecret, Verification, generations
from gitpulse_operator.domain.hooks import DesiredHook, ObservedHook, Parent, desired_hook
from gitpulse_operator.domain.plan import Create, Delete, Plan, Pushed, Update, kept, make_plan, ours_among
from gitpulse_operator.domain.spec import ProjectSpec, parse_project
from gitpulse_operator.errors import ClusterUnavailable, Forbidden, SignatureUnavailable, TargetNotFound
from gitpulse_operator.metrics import HOOKS_CORRECTED, HOOKS_LEFT_BEHIND
from gitpulse_operator.names import hook_name
from gitpulse_operator.reconcile import deliveries
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import GitLab, World
from gitpulse_operator.reconcile.repair import repair
from gitpulse_operator.reconcile.resource import Note, Resource, mapping
from gitpulse_operator.reconcile.rotation import NO_SIGNATURE, Rotation, stored
from gitpulse_service.contract import WEBHOOK_PATH, Credential, Route, hook_id, installation_id


async def known_route(resource: Resource, found: Findings, world: World) -> Route | None:
    """What receivers must know by earlier runs; None where there can be no hook yet.

    There can be one as soon as its place is known: GitLab may have made it, and its answer was lost.
    """
    if found.parent is None or not found.single:
        return None
    known = generations(await stored(resource, world))
    if not known:
        return None
    numbers = tuple(generation.number for generation in known)
    if found.pushed:
        found.standing = rotation.remembered(
            numbers, found.pushed.generation, found.phase, found.phase_since, world.clock()
        )
    secrets = [generation.secret(found.parent.key) for generation in known]
    weakest = rotation.weakest(numbers, found.pushed, found.previous)
    return _route(resource, found.instance, found.parent, secrets, world, verification=weakest)


async def install(
    resource: Resource, spec: ProjectSpec, found: Findings, published: Route | None, world: World
) -> None:
    """Makes the one hook that the spec asks for, or says in `found` what it would do. Raises OperatorError."""
    gitlab = await world.connections.open(resource.ref.namespace, spec.connection)
    before = known_parent(found, gitlab)
    if before is None and resource.ref.member and world.memory.group(resource.ref.whole).listed_in != gitlab.url:
        raise ClusterUnavailable(f"its group has yet to be found in {gitlab.url}, where its number may be another's")
    parent, observed = await _observe(gitlab, spec, before)
    found.credentials_valid = True
    if before is None:
        await move_in(resource, found, gitlab, parent, world)

    pushed = found.pushed if before and before.key == parent.key else None
    route_id = url_id(resource, parent, world)
    secrets = await Rotation.load(resource, spec, found, gitlab, parent, route_id, pushed, world)
    desired = desired_for(resource, spec, parent, world)
    keep = kept(desired, observed, pushed)
    observing = spec.adoption_policy == "Observe"
    if not observing:
        await secrets.begin(keep)
        # Receivers know a hook, and a secret, before GitLab does: its first delivery is welcome. Until GitLab has been
        # seen to sign, they take the token too.
        published = await _publish(secrets, published)
    secret, verification = await secrets.aim(keep)
    plan = make_plan(
        desired,
        observed,
        generation=secret.generation,
        verification=verification,
        pushed=pushed,
        leave_token=secrets.leaves_token(verification),
    )
    found.hook = plan.keep

    async def recreate() -> ObservedHook:
        assert found.hook is not None
        await gitlab.delete_hook(parent, found.hook.id)
        made, how = await _act(Plan((Create(desired.attributes),), None), secret, verification, secrets)
        secrets.given(Pushed(made.id, secret.generation, how))
        return made

    ours = deliveries.Hook(route_id, parent, gitlab, not observing, recreate)
    if observing:
        found.pending = plan.actions
        if not found.pending:
            await deliveries.prove(resource, ours, found, world)
        return
    hook, verification = await _act(plan, secret, verification, secrets)
    found.hook = hook
    if before and before.key != parent.key and found.single:
        await remove(gitlab, before, desired_for(resource, spec, before, world), found.pushed)
        await world.directory.withdraw(url_id(resource, before, world))
    found.parent = parent
    secrets.given(Pushed(hook.id, secret.generation, verification))
    await _conclude(hook, secret, verification, secrets)
    await _publish(secrets, published)
    await deliveries.prove(resource, ours, found, world)
    await repair(resource, ours, found, world)


async def _conclude(hook: ObservedHook, secret: HookSecret, verification: Verification, secrets: Rotation) -> None:
    """Ends a rotation, once it is proven and its overlap is over; that of a group's projects its group ends."""
    if await secrets.prove(hook) and not secrets.led:
        if verification == "SigningToken" and hook.present("token"):  # it was left there until the signature is proven
            attributes = secret.attributes(verification)
            secrets.found.hook = await secrets.gitlab.update_hook(secrets.parent, hook.id, attributes)
        await secrets.drop()


async def _publish(of: Rotation, known: Route | None) -> Route:
    """Tells receivers what is accepted now, unless that is what they know."""
    route = _route(of.resource, of.gitlab.url, of.parent, of.secrets, of.world, verification=of.weakest)
    if route != known:
        await of.world.directory.publish(route)
    return route


def known_parent(found: Findings, gitlab: GitLab) -> Parent | None:
    """Where the hook was so far, if that is in this GitLab."""
    return found.parent if found.instance == gitlab.url else None


async def move_in(resource: Resource, found: Findings, gitlab: GitLab, parent: Parent, world: World) -> None:
    """Its place is in this GitLab from now on. What is in another one is out of reach, and said so."""
    if before := found.parent:
        text = f"The hook of {before.path} stays behind in {found.instance}: its connection speaks to {gitlab.url} now"
        found.notes.append(Note("Warning", "HookLeftBehind", text))
        HOOKS_LEFT_BEHIND.inc()
        if before.key != parent.key:  # else it may be the same one by another name
            await world.directory.withdraw(url_id(resource, before, world))
        found.pushed = None
    found.parent, found.instance = parent, gitlab.url


async def _observe(gitlab: GitLab, spec: ProjectSpec, before: Parent | None) -> tuple[Parent, list[ObservedHook]]:
    """The target and the hooks there.

    Once known, the target is followed by its numeric id, which survives a rename or transfer. One that is gone may
    have been made anew under its old name.
    """
    if before and before.kind == spec.kind and spec.target.lower() in (before.path.lower(), str(before.id)):
        with contextlib.suppress(TargetNotFound):
            return before, await gitlab.hooks(before)
    parent = await found_at(gitlab, spec)
    return parent, await gitlab.hooks(parent)


async def found_at(gitlab: GitLab, spec: ProjectSpec) -> Parent:
    """The target, by the name that the spec has for it: GitLab also knows the names that it had before."""
    parent = await gitlab.resolve(spec.kind, spec.target)
    return parent if spec.target.isdigit() else replace(parent, path=spec.target)


async def _act(
    plan: Plan, secret: HookSecret, verification: Verification, secrets: Rotation
) -> tuple[ObservedHook, Verification]:
    """Does what the plan says. Returns the hook as it now is, and how its deliveries are verified."""
    hook, found, gitlab, parent = plan.keep, secrets.found, secrets.gitlab, secrets.parent
    attributes = secrets.attributes(secret, verification)
    for action in plan.actions:
        match action:
            case Create():
                hook = await gitlab.create_hook(parent, {**action.attributes, **attributes})
                found.notes.append(Note("Normal", "HookCreated", f"Created hook {hook.id} in {parent.path}"))
            case Update():
                credentials = attributes if action.secrets else {}
                hook = await gitlab.update_hook(parent, action.hook_id, {**action.attributes, **credentials})
                found.notes.append(Note("Normal", "HookUpdated", f"In {parent.path}: {action}"))
            case Delete():
                await gitlab.delete_hook(parent, action.hook_id)
                found.notes.append(
                    Note("Normal", "DuplicateRemoved", f"In {parent.path}: {action}, a duplicate of ours")
                )
    assert hook is not None  # a plan creates a hook where it keeps none
    if plan.drifted:
        _count_correction(secrets)
    if verification == "Token" or hook.present("signing_token"):
        return hook, verification
    never_signed = found.pushed is None or found.pushed.verification == "Token"
    if secrets.spec.secret.type == "Auto" and never_signed and secret.token:
        return await gitlab.update_hook(parent, hook.id, secret.attributes("Token")), "Token"
    raise SignatureUnavailable(NO_SIGNATURE)


def _count_correction(of: Rotation) -> None:
    """The hook was put right. If an earlier run had left it as this spec wants it, somebody else had changed it."""
    resource, world = of.resource, of.world
    before = find(resource.conditions, HOOK_INSTALLED)
    as_left = before is not None and before.status == "True"
    if as_left and resource.status.get("observedGeneration") == resource.generation:
        again = world.memory.of(of.route_id).corrected(world.clock())
        HOOKS_CORRECTED.labels("yes" if again else "no").inc()


# --- the steps of a removal -------------------------------------------------------------------------------------------


async def take_away(resource: Resource, found: Findings, world: World) -> None:
    """Removes what there is of it in GitLab, and has receivers forget it, and people. Raises OperatorError."""
    try:
        await _remove_hooks(resource, found, world)
    finally:
        await world.directory.withdraw_report(resource.ref.key)
        if found.parent:
            await world.directory.withdraw(url_id(resource, found.parent, world))


async def _remove_hooks(resource: Resource, found: Findings, world: World) -> None:
    """Unless they are to stay."""
    spec = parse_project(resource.spec)
    if spec.deletion_policy == "Orphan":
        return
    gitlab = await world.connections.open_to_clean_up(resource.ref.namespace, spec.connection)
    if found.parent is None:
        with contextlib.suppress(TargetNotFound):
            found.parent = await gitlab.resolve(spec.kind, spec.target)
    if found.parent:
        await remove(gitlab, found.parent, desired_for(resource, spec, found.parent, world), found.pushed)


async def remove(gitlab: GitLab, parent: Parent, desired: DesiredHook, pushed: Pushed | None) -> None:
    """Removes each hook there that is this one. Raises OperatorError."""
    let_in = pushed is not None and pushed.hook_id
    with contextlib.suppress(TargetNotFound, *(() if let_in else (Forbidden,))):  # no project or right, no hook
        for action in ours_among(desired, await gitlab.hooks(parent)):
            await gitlab.delete_hook(parent, action.hook_id)


# --- what follows from the resource alone -----------------------------------------------------------------------------


def url_id(resource: Resource, parent: Parent, world: World) -> str:
    """The end of its hook's URL."""
    return hook_id(world.installation_key, resource.uid, parent.key)


def desired_for(resource: Resource, spec: ProjectSpec, parent: Parent, world: World) -> DesiredHook:
    """Its hook at this parent."""
    return desired_hook(
        spec,
        base=world.public_url,
        path=f"{WEBHOOK_PATH}/{url_id(resource, parent, world)}",
        name=hook_name(installation_id(world.installation_key), resource.ref.namespace, resource.ref.name),
    )


def _route(
    resource: Resource,
    instance: str,
    parent: Parent,
    secrets: list[HookSecret],
    world: World,
    *,
    verification: Verification,
) -> Route:
    """What receivers must know; where GitLab signs they refuse a bare token."""
    return Route(
        hook_id=url_id(resource, parent, world),
        resource=f"{resource.ref.namespace}/{resource.ref.name}",
        instance=instance,
        credentials=tuple(Credential(s.generation, s.token, s.signing_key) for s in secrets),
        require_signature=verification == "SigningToken",
        connection=f"{resource.ref.namespace}/{mapping(resource.spec.get('connectionRef')).get('name')}",
    )
