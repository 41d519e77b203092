"""The GitLab simulator on a free port, in a thread of its own, so that both plain and async tests can use it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.push import RefChange
from gitpulse_sim.repository import Draft, Person
from gitpulse_sim.seed import DEMO_TOKEN, demo_world
from gitpulse_sim.server import serving
from gitpulse_sim.world import Project, World

T = TypeVar("T")


@dataclass
class Simulator:
    """A running simulator. `world` may be read at will; change it through `call` while deliveries are under way."""

    url: str
    world: World
    forge: Forge
    loop: asyncio.AbstractEventLoop = field(repr=False)
    token: str = DEMO_TOKEN

    @property
    def website(self) -> Project:
        return self.world.project("acme/website")

    @property
    def api(self) -> Project:
        return self.world.project("acme/api")

    def run(self, action: Coroutine[Any, Any, T]) -> T:
        """Runs one of the forge's actions in the simulator's thread: `sim.run(sim.forge.push(...))`."""
        return asyncio.run_coroutine_threadsafe(action, self.loop).result(60)

    def settle(self) -> None:
        """Waits until every delivery is answered."""
        self.run(self.forge.engine.idle())

    def push(
        self,
        files: Mapping[str, str | None] | Sequence[Mapping[str, str | None]] | None = None,
        *,
        project: str = "acme/website",
        user: str = "bob",
        branch: str = "main",
        commits: int = 1,
        at: datetime | None = None,
    ) -> RefChange:
        """One push of so many commits, delivered when it returns. `files`: of each commit, or a list, one a commit."""
        place, author = self.world.project(project), self.world.user(user)
        when = at or self.world.clock.now().astimezone(UTC)
        if isinstance(files, Mapping):
            contents: Sequence[Mapping[str, str | None]] = [files]
        else:
            contents = files or [{f"{branch}/{when:%H%M%S%f}-{number}.txt": "text\n"} for number in range(commits)]
        drafts = [
            Draft(message=f"Change {number} of {branch}", author=Person(author.name, author.email), at=when, files=each)
            for number, each in enumerate(contents, 1)
        ]
        change = self.run(self.forge.push(place, author, branch, drafts))
        self.settle()
        return change


@contextlib.contextmanager
def running_simulator(make_world: Callable[[], World] = demo_world) -> Iterator[Simulator]:
    """Serves a world (the demo's: alice owns `acme`, and has the token `demo-token`) until the block ends."""
    with simulator_thread() as loop, simulator_in(loop, make_world) as simulator:
        yield simulator


@contextlib.contextmanager
def simulator_in(loop: asyncio.AbstractEventLoop, make_world: Callable[[], World] = demo_world) -> Iterator[Simulator]:
    """The same, in a thread that others share. The server's last breath (0.2 s) is drawn after the block."""
    world = make_world()
    started: Future[Forge] = Future()

    async def serve() -> None:
        async with serving(world, port=0) as forge:
            started.set_result(forge)
            await asyncio.Event().wait()

    served = asyncio.run_coroutine_threadsafe(serve(), loop)
    served.add_done_callback(lambda ended: started.done() or started.set_exception(ended.exception()))
    try:
        forge = started.result(20)
        yield Simulator(world.url, world, forge, loop)
    finally:
        served.cancel()


@contextlib.contextmanager
def simulator_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own; when the block ends, all servers in it have stopped."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulators", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_rest(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _rest() -> None:
    """Lets cancelled servers stop cleanly."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
