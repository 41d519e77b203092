"""A house that is lived in: runs over its resources in one world that remembers, whose clock can be moved on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gitpulse_operator.adapters.gitlab import RestGitLab
from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.adapters.turns import Turns
from gitpulse_operator.composition import assembled
from gitpulse_operator.domain.conditions import Condition, find
from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.news import News
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Note, Ref, Resource
from gitpulse_operator.reconcile.runner import Run, Runner
from gitpulse_service.contract import DIRECTORY_ACKS
from harness.house import House
from harness.processes import free_port, wait_until
from harness.receiver import serving, settings


class Notebook(FolderCluster):
    """A folder that keeps the Events it is told of."""

    notes: list[tuple[str, Note]]

    async def note(self, resource: Resource, note: Note) -> None:
        self.notes.append((resource.ref.name, note))


class Life:
    """Run by run, as the operator's agenda would have it."""

    def __init__(self, house: House, cluster: Notebook, world: World) -> None:
        self.house, self.cluster = house, cluster
        self.later = timedelta()
        """How far its clock is ahead of the wall's."""
        self.world = replace(world, clock=lambda: datetime.now(UTC) + self.later)
        self.inventory = world.inventory
        self.news = News(self.world)
        self.due: dict[Ref, None] = {}
        """Who was woken by a run and has not had one since."""
        self._runner = Runner(self.world, resync_interval=600, wake=lambda ref, _: self.due.setdefault(ref))

    @classmethod
    @contextlib.asynccontextmanager
    async def begun(cls, house: House) -> AsyncIterator[Life]:
        """With one run over everything behind it."""
        settings = house.write()
        cluster = Notebook([house.manifests], house.state)
        cluster.notes = []
        async with assembled(settings, cluster) as world:
            life = cls(house, cluster, world)
            await life.settle(*(ref.name for ref in cluster.refs()))
            await world.directory.mark_complete()
            yield life

    async def run(self, name: str = "website") -> Run:
        """One run over a project."""
        return await self._runner.run(self.ref(name))

    async def settle(self, *names: str | Ref) -> None:
        """A run over each of these, and over whomever they wake, to the end."""
        self.due.update(dict.fromkeys(self.ref(name) if isinstance(name, str) else name for name in names))
        while self.due:
            ref = next(iter(self.due))
            del self.due[ref]
            await self._runner.run(ref)

    def ref(self, name: str) -> Ref:
        return Ref(PROJECT if name in self.house.projects else CONNECTION, "default", name)

    def resource(self, name: str = "website") -> Resource:
        body = self.inventory.get(self.ref(name))
        assert body is not None
        return Resource.from_body(body)

    def condition(self, kind: str, name: str = "website") -> Condition:
        found = find(self.resource(name).conditions, kind)
        assert found is not None, f"{name} has no condition {kind}"
        return found

    def delivering(self, name: str = "website") -> tuple[str, str]:
        found = self.condition("Delivering", name)
        return found.status, found.reason

    def told(self) -> list[str]:
        """The reasons of the Events since the last call."""
        reasons = [note.reason for _, note in self.cluster.notes]
        self.cluster.notes.clear()
        return reasons

    async def turns_come_round(self) -> None:
        """As a minute later, for GitLab and for those who wait for it."""
        self.house.simulator.world.clock.advance(61)
        gitlab = await self.world.connections.open("default", "gitlab")
        assert isinstance(gitlab, RestGitLab)
        gitlab._tests, gitlab._resends = Turns(), Turns()

    def ask(self, value: str, name: str = "website") -> None:
        """Annotates a project, so that the next run is one that somebody asked for."""
        self.annotate(name, {"gitpulse.io/reconcile-requested-at": value})

    def annotate(self, name: str, annotations: dict[str, str]) -> None:
        body = self.cluster._bodies[self.ref(name)]
        body["metadata"]["annotations"] = annotations
        self.inventory.put(self.ref(name), body)

    def members(self, name: str) -> list[Ref]:
        """Of a group that is followed project by project."""
        return self.inventory.members(self.ref(name))


@contextlib.contextmanager
def receiver_of(house: House, port: int) -> Iterator[None]:
    """A real receiver, until the block ends; it has acknowledged the directory when the block begins."""
    with serving(settings(house.redis_url, installation_key=house.key), port=port):
        wait_until(lambda: house.redis.hlen(DIRECTORY_ACKS), what="a receiver's acknowledgement")
        yield


def at_a_free_port(house: House) -> int:
    """Has the house's hooks point to a port of this machine, where nobody listens yet."""
    port = free_port()
    house.public_url = f"http://127.0.0.1:{port}"
    return port
