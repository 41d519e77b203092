"""The operator without Kubernetes: the same runs over the resources of a folder, within the caller's event loop."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.composition import assembled
from gitpulse_operator.domain.conditions import READY, Condition, find
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.names import TEAM
from gitpulse_operator.reconcile.resource import Body, Ref, Resource
from gitpulse_operator.reconcile.runner import Runner
from gitpulse_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A resource of the folder after a run."""

    ref: Ref
    spec: Body
    status: Body
    ready: Condition


async def reconcile_folder(settings: OperatorSettings, manifests: Iterable[Path], *, state: Path) -> list[Reconciled]:
    """Runs once over each resource of these YAML files or folders of them.

    `state` is the file that keeps generated secrets and statuses from one call to the next; projects that have left
    the manifests since then are cleaned up. Raises ManifestInvalid; what is wrong with one resource is in its `ready`.
    """
    cluster = FolderCluster(manifests, state)
    async with assembled(settings, cluster) as world:
        due = dict.fromkeys(cluster.refs())
        runner = Runner(world, resync_interval=settings.resync_interval, wake=lambda ref, _: due.setdefault(ref))
        for resource in cluster.removed():
            try:
                await runner.clean_up(resource)
                cluster.forget(resource)
            except OperatorError as error:  # the next call tries again
                logger.warning("%s: its hook is not removed yet: %s", resource.ref, error)
        while due:  # runs over groups wake their projects, whose runs wake the groups
            ref = next(iter(due))
            del due[ref]
            await runner.run(ref)
        for (
            place
        ) in await world.directory.teams():  # those that are gone are withdrawn; the others know all of them now
            await runner.run(Ref(TEAM, *place))
        await world.directory.mark_complete()
    return [_reconciled(Resource.from_body(body)) for ref in cluster.refs() if (body := await cluster.read(ref))]


def _reconciled(resource: Resource) -> Reconciled:
    ready = find(resource.conditions, READY)
    return Reconciled(
        resource.ref,
        resource.spec,
        resource.status,
        ready or Condition(READY, "Unknown", "NotReconciled", "The run over it did not come to an end; see the log."),
    )
