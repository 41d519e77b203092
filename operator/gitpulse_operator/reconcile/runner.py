"""One run over one resource: reconcile, write the status if it differs, tell of transitions, say when to come back."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gitpulse_operator.domain.patch import merge_patch
from gitpulse_operator.errors import Defect, OperatorError
from gitpulse_operator.inventory import Inventory
from gitpulse_operator.metrics import RECONCILE_ERRORS, RECONCILE_TIME, RECONCILE_TOTAL, STATUS_WRITES
from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.connection import reconcile_connection
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.project import cleanup_project, reconcile_project
from gitpulse_operator.reconcile.resource import Outcome, Ref, Resource
from gitpulse_operator.reconcile.rotations import Rotations

logger = logging.getLogger(__name__)

RECONCILERS: dict[str, Callable[[Resource, World], Awaitable[Outcome]]] = {
    CONNECTION: reconcile_connection,
    PROJECT: reconcile_project,
}

FIRST_RETRY = 1.0
LAST_RETRY = 300.0
"""Seconds between tries while something stands in the way: doubling from the first to the last."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended: after how many seconds to come back (None: never), and what stood in its way."""

    again: float | None
    error: OperatorError | None = None


class Runner:
    """Runs resources one by one; the same for those of a cluster and of a folder."""

    def __init__(
        self,
        world: World,
        inventory: Inventory,
        *,
        resync_interval: float,
        begun: Callable[[Resource], None] = lambda _: None,
    ) -> None:
        """`begun` is told of each resource that a run answers to, as that run sees it."""
        self._world = world
        self._inventory = inventory
        self._resync_interval = resync_interval
        self._begun = begun
        self._failures: Counter[Ref] = Counter()
        self._rotations = Rotations()

    async def run(self, ref: Ref) -> Run:
        """Looks after a resource. Raises nothing."""
        try:
            body = self._inventory.get(ref) or await self._world.cluster.read(ref)
            resource = Resource.from_body(body) if body else None
            if resource is None or resource.deleted_at:
                self._rotations.forget(ref)
            if resource is None or resource.deleted_at or (ref.kind == PROJECT and not resource.held):
                return Run(None)
            self._begun(resource)
            outcome = await self._reconcile(resource)
            if outcome is None:
                return Run(None)
        except OperatorError as error:
            return self._retry(ref, error)
        except Exception as error:
            logger.error("%s: a defect of GitPulse: %s: %s", ref, type(error).__name__, error)  # noqa: TRY400
            logger.debug("%s: where it is", ref, exc_info=True)
            return self._retry(ref, Defect("a defect of GitPulse"))
        if outcome.error and outcome.error.retryable:
            return self._retry(ref, outcome.error)
        del self._failures[ref]
        _count(ref, outcome.error)
        if outcome.error:
            logger.warning("%s: %s", ref, outcome.error)
        jitter = 0.9 + 0.2 * (zlib.crc32(resource.uid.encode()) % 1000) / 1000
        again = self._resync_interval * jitter
        return Run(again if outcome.again is None else min(again, outcome.again), outcome.error)

    async def clean_up(self, resource: Resource) -> None:
        """Removes what there is of a deleted project. Raises what is worth waiting for."""
        with RECONCILE_TIME.labels(resource.ref.kind).time():
            notes = await cleanup_project(resource, self._world)
        self._rotations.forget(resource.ref)
        for note in notes:
            await self._world.cluster.note(resource, note)

    async def _reconcile(self, resource: Resource) -> Outcome | None:
        kind = resource.ref.kind
        with RECONCILE_TIME.labels(kind).time():
            outcome = await RECONCILERS[kind](resource, self._world)
        self._rotations.note(resource.ref, outcome.status)
        if patch := merge_patch(resource.status, outcome.status):
            STATUS_WRITES.labels(kind).inc()
            after = await self._world.cluster.write_status(resource, patch)
            if after is None:  # deleted meanwhile; a project never is, our finalizer holds it
                self._inventory.drop(resource.ref)
                return None
            self._inventory.put(resource.ref, after)
        for note in outcome.notes:
            await self._world.cluster.note(resource, note)
        return outcome

    def _retry(self, ref: Ref, error: OperatorError) -> Run:
        _count(ref, error)
        self._failures[ref] += 1
        wait = min(FIRST_RETRY * 2.0 ** min(self._failures[ref] - 1, 16), LAST_RETRY)
        wait = max(wait, error.retry_after or 0.0)
        logger.warning("%s: %s (again in %.0f s)", ref, error, wait)
        return Run(wait, error)


def _count(ref: Ref, error: OperatorError | None) -> None:
    RECONCILE_TOTAL.labels(ref.kind, "success" if error is None else "error" if error.retryable else "stalled").inc()
    if error:
        RECONCILE_ERRORS.labels(ref.kind, error.reason).inc()
