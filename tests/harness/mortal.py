"""An operator that can be killed between any two of its steps; the next one knows only what was kept."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, cast

from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.composition import assembled
from gitpulse_operator.names import PROJECT
from gitpulse_operator.reconcile.connections import OpenConnections
from gitpulse_operator.reconcile.ports import Cluster, Directory, World
from gitpulse_operator.reconcile.resource import Ref
from gitpulse_operator.reconcile.runner import Run, Runner
from harness.house import House


class Killed(BaseException):
    """The process is gone."""


class Life:
    """Counts what an operator asks of the world, before and after each answer; ends at `last`."""

    def __init__(self, last: int | None = None) -> None:
        self.steps, self.last = 0, last

    def step(self, part: object, name: str, *, done: bool) -> None:  # noqa: ARG002
        """`part` of the world is asked for `name`, or (done) has just answered."""
        self.steps += 1
        if self.steps == self.last:
            raise Killed


class Mortal:
    """Any part of the world, until the life ends."""

    def __init__(self, part: object, life: Life) -> None:
        self._part, self._life = part, life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._life.step(self._part, name, done=False)
            answer = await value(*args, **kwargs)
            self._life.step(self._part, name, done=True)
            return Mortal(answer, self._life) if name in ("open", "reopen") else answer

        return call


def mortal(world: World, life: Life) -> World:
    """The same world, as long as that life lasts."""
    return replace(
        world,
        cluster=cast("Cluster", Mortal(world.cluster, life)),
        connections=cast("OpenConnections", Mortal(world.connections, life)),
        directory=cast("Directory", Mortal(world.directory, life)),
    )


async def run_once(house: House, life: Life, name: str = "website") -> Run:
    """One run of a new operator over a project, and over whomever that wakes. Raises Killed."""
    settings = house.write()
    cluster = FolderCluster([house.manifests], house.state)
    async with assembled(settings, cluster) as world:
        due: dict[Ref, None] = {}
        runner = Runner(mortal(world, life), resync_interval=600, wake=lambda ref, _: due.setdefault(ref))
        run = await runner.run(Ref(PROJECT, "default", name))
        while due:
            ref = next(iter(due))
            del due[ref]
            await runner.run(ref)
        return run
