"""Looks after a GitPulseProject: its hook, or one in each project of its group, and says what was found.

The operator on Kubernetes and the one that is fed from a folder both go this way.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitpulse_operator.domain.conditions import Condition
from gitpulse_operator.domain.spec import ProjectSpec, parse_project
from gitpulse_operator.errors import CredentialsError, Forbidden, OperatorError, TargetNotFound
from gitpulse_operator.metrics import HOOKS_LEFT_BEHIND
from gitpulse_operator.reconcile import group, report
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.hook import install, known_parent, known_route, take_away
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Note, Outcome, Resource
from gitpulse_service.contract import Route


async def reconcile_project(resource: Resource, world: World) -> Outcome:
    """Makes GitLab have exactly the hooks that the resource asks for, and receivers know them. Raises nothing."""
    found = Findings.remembered(resource)
    error: OperatorError | None = None
    try:
        published = await known_route(resource, found, world)
        if published:  # whatever GitLab and the spec are like by now
            await world.directory.publish(published)
        await group.keep_routes(resource, found, world)
        spec = parse_project(resource.spec)
        if spec.suspend:
            found.standing = None
            group.hold(resource, world)
            conditions: Sequence[Condition] = report.suspended(resource)
        else:
            await _follow(resource, spec, found, published, world)
            conditions = report.followed(found)
    except OperatorError as caught:
        error, conditions = caught, report.failed(resource, found, caught)
    return report.outcome(resource, found, conditions, world.clock(), world.pace.deadline, error)


async def _follow(
    resource: Resource, spec: ProjectSpec, found: Findings, published: Route | None, world: World
) -> None:
    if _by_projects(resource, spec, found, world):
        await group.follow(resource, spec, found, world)
        return
    try:
        await install(resource, spec, found, published, world)
    except (TargetNotFound, Forbidden) as error:
        # A group hook that stands is not given up because somebody has lost a role, only where GitLab has none now.
        gitlab = await world.connections.open(resource.ref.namespace, spec.connection)
        stands = known_parent(found, gitlab) and found.pushed and found.pushed.hook_id
        if spec.kind != "Group" or spec.group_mode != "Auto" or (stands and isinstance(error, Forbidden)):
            raise
        await group.follow(resource, spec, found, world)
    else:
        await group.leave(resource, found, world)


def _by_projects(resource: Resource, spec: ProjectSpec, found: Findings, world: World) -> bool:
    """Whether it is known that each project has its hook; `Auto` asks again for a group hook with each listing."""
    if spec.kind != "Group" or spec.group_mode == "GroupHook":
        return False
    followed = found.group_mode == "ProjectHooks" and not (found.pushed and found.pushed.hook_id)
    return spec.group_mode == "ProjectHooks" or (followed and not group.is_listing_due(resource, world))


async def cleanup_project(resource: Resource, world: World) -> list[Note]:
    """Removes what there is of a deleted resource, in GitLab and in the directory.

    Raises an error that is worth waiting for, until the deadline; then the resource goes without, and a note says so.
    """
    found = Findings.remembered(resource)
    trouble: OperatorError | None = None
    for step in (group.remove_all, take_away):
        try:
            await step(resource, found, world)
        except OperatorError as error:
            trouble = trouble or error
    if trouble is None:
        return []
    left = world.deletion_deadline - resource.waited(world.clock())
    if trouble.retryable and not isinstance(trouble, CredentialsError) and left > 0:
        if trouble.retry_after is not None:
            trouble.retry_after = min(trouble.retry_after, left)
        raise trouble
    HOOKS_LEFT_BEHIND.inc()
    return [Note("Warning", "HookLeftBehind", f"Its hook may still be in GitLab: {trouble}")]
