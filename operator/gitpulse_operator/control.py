"""The operator at work on a cluster: what the watches show becomes runs, and what the runs say is kept to.

The kopf handlers feed it, or (without Kubernetes) the files of a folder; it knows nothing of either.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Self

from gitpulse_operator.agenda import Agenda, ended
from gitpulse_operator.composition import assembled
from gitpulse_operator.domain.conditions import READY, find
from gitpulse_operator.errors import ClusterUnavailable, DirectoryUnavailable, OperatorError
from gitpulse_operator.metrics import QUEUE_DEPTH
from gitpulse_operator.names import CONNECTION, PROJECT, TEAM
from gitpulse_operator.priority import Priority, Urgency, running
from gitpulse_operator.reconcile.news import News
from gitpulse_operator.reconcile.ports import Cluster, World
from gitpulse_operator.reconcile.resource import Body, Note, Ref, Resource
from gitpulse_operator.reconcile.runner import Run, Runner
from gitpulse_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

DIRECTORY_CHECK = 3.0
"""Seconds between looks at Redis: whether it still has what we have told it."""
NEWS_EVERY = 5
"""Each so many of them, also at what receivers have noted there about each hook."""
PUBLISHED = (PROJECT, TEAM)
"""Kinds of which the directory must hold all before it is complete."""
TEAMS_SETTLE = 1.0
"""Seconds after which a change of one team is looked at from the others, which may claim the same."""
CLEANUP_RETRY = 15.0
"""Seconds between tries to clean up while GitLab does not answer."""
LONGEST_ARRIVAL = 10.0
"""Seconds after which a project that has not been given our finalizer keeps no others from it."""


class Control:
    """Knows the resources, decides when each is looked after, and when the directory is complete."""

    def __init__(self, settings: OperatorSettings, world: World) -> None:
        self._world = world
        self._inventory = world.inventory
        self._shown: dict[Ref, tuple[object, ...]] = {}
        self._running: set[Ref] = set()
        self._agenda: Agenda[Ref] = Agenda(self._work, workers=settings.workers)
        self._places = asyncio.Semaphore(settings.workers)
        self._arriving: dict[Ref, asyncio.TimerHandle] = {}
        self._urgency: dict[Ref, Urgency] = {}
        QUEUE_DEPTH.set_function(self._agenda.waiting)
        self._runner = Runner(world, resync_interval=settings.resync_interval, begun=self._begun, wake=self._agenda.put)
        self._news = News(world)
        self._unpublished: set[Ref] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, settings: OperatorSettings, cluster: Cluster, *, away: bool = False) -> AsyncIterator[Self]:
        """Runs it until the block ends. `away`: until now there may have been no receiver, so deliveries have failed.

        Raises DirectoryUnavailable or ClusterUnavailable if one is not there.
        """
        async with assembled(settings, cluster) as world:
            world.memory.away = away
            control = cls(settings, world)
            await world.directory.is_complete()
            refs = [Resource.from_body(body).ref for kind in PUBLISHED for body in await cluster.bodies(kind)]
            watched = settings.namespaces
            known = [Ref(TEAM, *place) for place in await world.directory.teams() if not watched or place[0] in watched]
            await control.publish_first([*refs, *known])  # a run over one that is gone by now withdraws it
            jobs = [asyncio.create_task(job) for job in (control._agenda.run(), control._watch_directory())]
            try:
                yield control
            finally:
                await ended(*jobs)

    async def publish_first(self, refs: list[Ref]) -> None:
        """The directory is complete once there has been a run over each of these."""
        self._unpublished = set(refs)
        self._wake(refs)
        await self._published()

    def seen(self, body: Body) -> None:
        """A resource as a watch shows it: worth a run if it is new, changed, or asks for one."""
        resource = Resource.from_body(body)
        # Not what the inventory holds: the answer to a status write may have told it of an edit before the watch does.
        shown, self._shown[resource.ref] = self._shown.get(resource.ref), resource.wishes
        self._inventory.put(resource.ref, body)
        if resource.deleted_at or (resource.ref.kind == PROJECT and not resource.held):
            return
        self._arrived(resource.ref)
        if shown != resource.wishes:
            at_start = shown is None and resource.ref in (self._unpublished or ())
            self._wake([resource.ref], asked=not at_start)
            if resource.ref.kind == CONNECTION:
                self._connection_changed(resource.ref, known=shown is not None)
            if resource.ref.kind == TEAM:
                self._team_changed()

    def _team_changed(self) -> None:
        for ref in self._inventory.refs(TEAM):
            self._agenda.put(ref, TEAMS_SETTLE)

    async def admit(self, body: Body) -> None:
        """Keeps a new project waiting for its finalizer while as many as can be looked after at one time get theirs.

        Else thousands that come at once are all given it before the first of them is looked after.
        """
        resource = Resource.from_body(body)
        if resource.ref.kind == PROJECT and not (resource.held or resource.deleted_at):
            await self._places.acquire()
            self._arrived(resource.ref)
            wait = asyncio.get_running_loop().call_later
            self._arriving[resource.ref] = wait(LONGEST_ARRIVAL, self._arrived, resource.ref)

    def _arrived(self, ref: Ref) -> None:
        if timer := self._arriving.pop(ref, None):
            timer.cancel()
            self._places.release()

    def _connection_changed(self, ref: Ref, *, known: bool) -> None:
        """Wakes its projects; where the watch shows it for the first time, those that have missed it.

        At the start the others use it before it is shown.
        """
        users = self._inventory.users_of_connection(ref.namespace, ref.name)
        if known:
            self._world.connections.forget(ref.namespace, ref.name)
        self._wake(users if known else {user for user in users if self._ready(user) != "True"})

    def gone(self, body: Body) -> None:
        """A resource that is no more, or (a watch shows no difference) another shard's by now."""
        ref = Resource.from_body(body).ref
        if ref.kind == CONNECTION:
            self._world.connections.forget(ref.namespace, ref.name)
            self._wake(self._inventory.users_of_connection(ref.namespace, ref.name))
        self._arrived(ref)
        self._shown.pop(ref, None)
        self._world.memory.forget_group(ref)
        for each in (*self._inventory.members(ref), ref):
            self._leave(each)
        if ref.kind == TEAM:
            self._agenda.put(ref)
            self._team_changed()

    async def revoke(self, body: Body) -> None:
        """Takes from workers what a connection that is gone gave them."""
        ref = Resource.from_body(body).ref
        if ref.kind == CONNECTION:
            with contextlib.suppress(DirectoryUnavailable):  # sealed it stays then
                await self._world.directory.revoke(f"{ref.namespace}/{ref.name}")

    def _leave(self, ref: Ref) -> None:
        if self._unpublished:
            self._unpublished.discard(ref)  # the next look at the directory says that it is complete
        self._inventory.drop(ref)
        self._agenda.drop(ref)
        self._runner.forget(ref)

    def secret_changed(self, namespace: str, name: str) -> None:
        """A Secret was made, changed or deleted: whoever uses it is looked after, connections first."""
        users = self._inventory.users_of_secret(namespace, name)
        for connection in (ref for ref in users if ref.kind == CONNECTION):
            self._world.connections.forget(connection.namespace, connection.name)
        shared = any(ref.kind == CONNECTION for ref in users)
        self._wake(sorted(users, key=lambda ref: (ref.kind != CONNECTION, ref.name)), asked=not shared)

    async def clean_up(self, body: Body) -> None:
        """Removes what there is of a project that is being deleted. Raises an OperatorError worth waiting for."""
        resource = Resource.from_body(body)
        async with contextlib.AsyncExitStack() as alone:
            for ref in (resource.ref, *self._inventory.members(resource.ref)):
                self._agenda.drop(ref)
                self._hurry(ref, Priority.URGENT)
                await alone.enter_async_context(self._agenda.exclusive(ref))
            newest = Resource.from_body(self._inventory.get(resource.ref) or body)
            with running(Priority.URGENT):
                await self._runner.clean_up(newest if newest.uid == resource.uid else resource)
        await self._published(resource.ref)

    async def delayed(self, body: Body, error: OperatorError) -> None:
        """Tells, once, why a project that is being deleted is not gone yet."""
        text = f"Waits up to {self._world.deletion_deadline:.0f} s for its hook to be removed: {error}"
        await self._world.cluster.note(Resource.from_body(body), Note("Warning", "CleanupDelayed", text))

    def _wake(self, refs: Iterable[Ref], *, asked: bool = False) -> None:
        """Unless `asked`, these may be all there are: a change of one, and what is more urgent, goes before."""
        for ref in refs:
            self._agenda.put(ref, None if asked or ref.kind == CONNECTION else 0.0)
            if asked:
                self._hurry(ref, Priority.ASKED)
            for member in self._inventory.members(ref):
                if self._ready(member) != "True":
                    self._agenda.put(member, 0.0)

    def _hurry(self, ref: Ref, priority: Priority) -> None:
        """The run that is under way stands in the way of another one, which is so urgent."""
        if urgency := self._urgency.get(ref):
            urgency.grow(priority)

    async def _work(self, ref: Ref, asked: bool) -> float | None:
        before = self._ready(ref)
        with running(Priority.ASKED if asked else Priority.DUE) as self._urgency[ref]:
            try:
                run = await self._runner.run(ref)
            finally:
                del self._urgency[ref]
        if ref in self._running and ref not in self._shown:  # gone meanwhile: what the run has kept of it is old
            self._leave(ref)
            run = Run(None)
        self._running.discard(ref)
        if not isinstance(run.error, ClusterUnavailable | DirectoryUnavailable):
            await self._published(ref)
        if ref.kind == CONNECTION and before == "False" and self._ready(ref) == "True":
            self._wake(self._inventory.users_of_connection(ref.namespace, ref.name))
        return run.again

    def _begun(self, resource: Resource) -> None:
        """At the start a run may come before the watch first shows its resource, which is then no news."""
        self._running.add(resource.ref)
        self._shown.setdefault(resource.ref, resource.wishes)

    def _ready(self, ref: Ref) -> str | None:
        body = self._inventory.get(ref)
        ready = find(Resource.from_body(body).conditions, READY) if body else None
        return ready.status if ready else None

    async def _published(self, *refs: Ref) -> None:
        if self._unpublished is None:
            return
        self._unpublished.difference_update(refs)
        if not self._unpublished:
            with contextlib.suppress(OperatorError):  # the next look at the directory tries again
                await self._world.directory.mark_complete()
                self._unpublished = None
                logger.info("all routes are published")

    async def _watch_directory(self) -> None:
        """A Redis that has lost its data is given everything again; what receivers have noted there is acted on."""
        for looks in itertools.count(1):
            await asyncio.sleep(DIRECTORY_CHECK)
            try:
                if not self._unpublished and not await self._world.directory.is_complete():
                    logger.warning("the directory in Redis is not complete: publishing all routes again")
                    self._wake(self._inventory.refs(CONNECTION))
                    refs = [ref for kind in PUBLISHED for ref in self._inventory.refs(kind)]
                    await self.publish_first([ref for ref in refs if not ref.member])
                if looks % NEWS_EVERY == 0:
                    self._wake(await self._news.look(), asked=True)
            except OperatorError:
                pass  # Redis is away: the next look tries again
            except Exception as error:  # noqa: BLE001 -- a watch that ended would be missed by nobody
                logger.error("the look at Redis: a defect of GitPulse: %s: %s", type(error).__name__, error)  # noqa: TRY400
