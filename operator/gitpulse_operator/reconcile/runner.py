"""One run over one resource: reconcile, write the status if it differs, tell of transitions, say when to come back."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from gitpulse_operator.domain.patch import merge_patch, merged
from gitpulse_operator.errors import Defect, OperatorError
from gitpulse_operator.metrics import QUEUE_RETRIES, RECONCILE_ERRORS, RECONCILE_TIME, RECONCILE_TOTAL, STATUS_WRITES
from gitpulse_operator.names import CONNECTION, PROJECT, TEAM
from gitpulse_operator.reconcile.connection import reconcile_connection
from gitpulse_operator.reconcile.hook_report import hook_report
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.project import cleanup_project, reconcile_project
from gitpulse_operator.reconcile.resource import Body, Outcome, Ref, Resource, mapping
from gitpulse_operator.reconcile.tally import Tally
from gitpulse_operator.reconcile.team import reconcile_team

logger = logging.getLogger(__name__)

RECONCILERS: dict[str, Callable[[Resource, World], Awaitable[Outcome]]] = {
    CONNECTION: reconcile_connection,
    PROJECT: reconcile_project,
    TEAM: reconcile_team,
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
        *,
        resync_interval: float,
        begun: Callable[[Resource], None] = lambda _: None,
        wake: Callable[[Ref, float], None] = lambda _ref, _delay: None,
    ) -> None:
        """`begun` is told of each resource that a run answers to, as that run sees it.

        `wake` is told of others that are worth a run because of this one, after so many seconds.
        """
        self._world = world
        self._inventory = world.inventory
        self._wake = wake
        self._resync_interval = resync_interval
        self._begun = begun
        self._failures: Counter[Ref] = Counter()
        self._tally = Tally()

    async def run(self, ref: Ref) -> Run:
        """Looks after a resource. Raises nothing."""
        try:
            resource = await self._resource(ref)
            if resource is None or resource.deleted_at:
                self._tally.forget(ref)
            if resource and ref.member and resource.deleted_at:
                await self._take_leave(resource)
            if ref.kind == TEAM and (resource is None or resource.deleted_at):
                await self._world.directory.withdraw_team(ref.namespace, ref.name)
            if resource is None or resource.deleted_at or (ref.kind == PROJECT and not resource.held):
                return Run(None)
            if not ref.member:
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
        jitter = 0.9 + 0.2 * (zlib.crc32(f"{resource.uid}{ref.member}".encode()) % 1000) / 1000
        again = self._resync_interval * jitter
        return Run(again if outcome.again is None else min(again, outcome.again), outcome.error)

    async def _resource(self, ref: Ref) -> Resource | None:
        body = self._inventory.get(ref)
        if ref.member:
            whole = self._inventory.get(ref.whole)
            if whole is None or Resource.from_body(whole).deleted_at:  # whose clean-up takes care of this one too
                return None
        elif body is None:
            body = await self._world.cluster.read(ref)
            if body:
                self._inventory.put(ref, body)
        return Resource.from_body(body) if body else None

    async def _take_leave(self, member: Resource) -> None:
        """The project is not in the group any more."""
        for note in await cleanup_project(member, self._world):
            logger.warning("%s: %s", member.ref, note.message)
        self._inventory.drop(member.ref)
        self._changed(member.ref)

    def _changed(self, member: Ref) -> None:
        """Has the group add up again, the later the more projects there are."""
        self._wake(member.whole, max(2.0, len(self._inventory.members(member.whole)) / 200))

    def forget(self, ref: Ref) -> None:
        """Drops what is remembered of a resource that is gone."""
        self._failures.pop(ref, None)
        self._tally.forget(ref)

    async def clean_up(self, resource: Resource) -> None:
        """Removes what there is of a deleted project. Raises what is worth waiting for."""
        with RECONCILE_TIME.labels(resource.ref.kind).time():
            notes = await cleanup_project(resource, self._world)
        self._tally.forget(resource.ref)
        for note in notes:
            await self._world.cluster.note(resource, note)

    async def _reconcile(self, resource: Resource) -> Outcome | None:
        kind = resource.ref.kind
        with RECONCILE_TIME.labels(kind).time():
            outcome = await RECONCILERS[kind](resource, self._world)
        if not resource.ref.member:
            self._tally.note(resource, outcome.status)
        if patch := merge_patch(resource.status, outcome.status):
            if resource.ref.member:
                after = self._write(resource, patch)
            else:
                STATUS_WRITES.labels(kind).inc()
                after = await self._world.cluster.write_status(resource, patch)
            if after is None:  # deleted meanwhile; a project never is, our finalizer holds it
                self._inventory.drop(resource.ref)
                return None
            self._inventory.put(resource.ref, after)
            resource = replace(resource, status=Resource.from_body(after).status)
        if kind == PROJECT:
            await self._world.directory.report(resource.ref.key, hook_report(resource, self._world))
        for ref in outcome.wake:
            self._wake(ref, 0.0)
        for note in outcome.notes:
            if resource.ref.member:  # an Event for each of thousands would tell nobody anything
                logger.info("%s: %s: %s", resource.ref, note.reason, note.message)
            else:
                await self._world.cluster.note(resource, note)
        return outcome

    def _write(self, member: Resource, patch: Body) -> Body | None:
        """Of a project of a group, only the inventory has a status. The group may have told it of a new spec by now."""
        self._changed(member.ref)
        body = self._inventory.get(member.ref)
        return {**body, "status": merged(mapping(body.get("status")), patch)} if body else None

    def _retry(self, ref: Ref, error: OperatorError) -> Run:
        _count(ref, error)
        self._failures[ref] += 1
        QUEUE_RETRIES.inc()
        wait = min(FIRST_RETRY * 2.0 ** min(self._failures[ref] - 1, 16), LAST_RETRY)
        wait = max(wait, error.retry_after or 0.0)
        logger.warning("%s: %s (again in %.0f s)", ref, error, wait)
        return Run(wait, error)


def _count(ref: Ref, error: OperatorError | None) -> None:
    RECONCILE_TOTAL.labels(ref.kind, "success" if error is None else "error" if error.retryable else "stalled").inc()
    if error:
        RECONCILE_ERRORS.labels(ref.kind, error.reason).inc()
