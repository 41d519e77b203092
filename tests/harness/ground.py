"""Where random sequences play: a simulated GitLab, a Redis, receivers without HTTP, and an operator that can be killed.

All of it serves many sequences and is wiped between them. Time is moved for all at once: the operator's clock and its
event loop's, GitLab's and the receivers'.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis as redis_client

from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.composition import assembled
from gitpulse_operator.errors import (
    ClusterUnavailable,
    Defect,
    DirectoryUnavailable,
    GitLabUnavailable,
    OperatorError,
)
from gitpulse_operator.reconcile import rotation
from gitpulse_operator.reconcile.resource import Body, Ref, Resource
from gitpulse_operator.reconcile.runner import Run, Runner
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_ACKS,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Route,
    feedback_key,
    unseal,
)
from gitpulse_service.receiver.verification import Refusal, verify
from gitpulse_sim.deliver import Event, _sign_into, delivery_headers
from gitpulse_sim.hook import Hook
from gitpulse_sim.seed import demo_world
from gitpulse_sim.world import World
from harness.mortal import Killed, Life, mortal
from harness.redis import redis_server
from harness.simulator import Simulator, running_simulator
from harness.target import Received, Target, running_target

KEY = bytes(range(32))
CHANGES = {"publish", "withdraw", "create_hook", "update_hook", "delete_hook"}
"""After each of these somebody may refuse what was welcome before."""
UNAVAILABLE = {"RestGitLab": GitLabUnavailable, "RedisDirectory": DirectoryUnavailable}


class Loop(asyncio.SelectorEventLoop):
    """Its time can be moved on."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Kept(FolderCluster):
    """Kubernetes, as far as runs need it: what users wrote is handed in, what the operator wrote is in a file."""

    births: Mapping[str, int]

    def show(self, documents: Sequence[dict[str, Any]]) -> None:
        self._bodies.clear()
        self._secrets.clear()
        self._leaving.clear()
        for document in documents:
            self._add(Path("users"), document)

    def knows(self, name: str) -> bool:
        return f"GitPulseProject/default/{name}" in self._state

    def _body(self, ref: Ref, spec: Body, annotations: Body | None = None) -> dict[str, Any]:
        body = super()._body(ref, spec, annotations)
        body["metadata"]["uid"] = uid(ref.name, self.births)
        return body


def uid(name: str, births: Mapping[str, int]) -> str:
    """Of a resource, which is another one when it was made anew."""
    return f"{name}-{births.get(name, 0)}"


class Fate(Life):
    """Ends an operator's life at a step, or has that step fail, before its effect or after; watches every change."""

    def __init__(self, watch: Callable[[], None]) -> None:
        super().__init__()
        self.watch, self.stumbles = watch, False

    def set(self, last: int | None = None, *, stumbles: bool = False) -> None:
        self.steps, self.last, self.stumbles = 0, last, stumbles

    def step(self, part: object, name: str, *, done: bool) -> None:
        if done and name in CHANGES:
            self.watch()
        if name == "note" and self.stumbles:  # it never fails
            return
        try:
            super().step(part, name, done=done)
        except Killed:
            if self.stumbles:
                raise UNAVAILABLE.get(type(part).__name__, ClusterUnavailable)("it has stumbled") from None
            raise


class Ground:
    """One for many sequences."""

    def __init__(self, simulator: Simulator, target: Target, redis_url: str, folder: Path) -> None:
        self.simulator, self.world = simulator, simulator.world
        self.public_url = target.url.removesuffix("/hook")
        self.redis = redis_client.Redis.from_url(redis_url)
        self.state = folder / "state.json"
        self.runner = asyncio.Runner(loop_factory=Loop)
        self.settings = OperatorSettings.model_validate(
            {
                "redis_url": redis_url,
                "installation_key": KEY,
                "public_url": self.public_url,
                "gitlab_threads": 1,
                "backfill_days": 0,
            }
        )
        self.later = 0.0
        self.laggard: tuple[dict[str, Route], str] | None = None
        """A receiver that has stopped following: the routes that it knows, and their version."""
        target.judge = self._judge
        self.names = {place: place.path for place in (*self.world.projects.values(), *self.world.groups.values())}
        self.home = {project: project.group for project in self.world.projects.values()}

    def wipe(self) -> None:
        """As on the first day."""
        world = self.world
        for place, path in self.names.items():
            place.path = path
            place.hooks.clear()
        for project, group in self.home.items():
            project.group, project.archived = group, False
        world.routes = {project.full_path: project.id for project in self.home}
        world.faults.clear()
        world.manual_calls.clear()
        world.clock.follow_wall()
        world.instance.auto_disabling, world.instance.tier = True, "premium"
        self.token(valid=True)
        self.state.unlink(missing_ok=True)
        self.redis.flushall()
        self.later, self.laggard = 0.0, None

    def token(self, *, valid: bool) -> None:
        """Whether GitLab knows the operator's token."""
        (self._known,) = self.world.tokens.values() or (self._known,)
        self.world.tokens.clear()
        if valid:
            self.world.tokens[self._known.text] = self._known

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.later)

    def advance(self, seconds: float) -> None:
        """Time passes, for all."""
        self.later += seconds
        self.world.clock.advance(seconds)
        loop = self.runner.get_loop()
        assert isinstance(loop, Loop)
        loop.ahead += seconds

    # --- receivers ----------------------------------------------------------------------------------------------------

    def routes(self) -> dict[str, Route]:
        """What a receiver knows that follows the directory."""
        sealed: Any = self.redis.hgetall(DIRECTORY)
        return {hook.decode(): unseal(KEY, hook.decode(), record) for hook, record in sealed.items()}

    def lag(self) -> None:
        """One receiver stops following, and still says that it lives."""
        newest: Any = self.redis.xrevrange(DIRECTORY_CHANGES, count=1)
        self.laggard = self.routes(), newest[0][0].decode() if newest else "0-0"

    def acknowledge(self) -> None:
        """What living receivers say each second."""
        said_at = int(self.now().timestamp() * 1000)
        self.redis.hset(DIRECTORY_ACKS, "prompt", f"9999999999999-0 {said_at}")
        self.redis.hdel(DIRECTORY_ACKS, "laggard")
        if self.laggard:
            self.redis.hset(DIRECTORY_ACKS, "laggard", f"{self.laggard[1]} {said_at}")

    def verdicts(
        self, hook: Hook, secrets: Sequence[tuple[str | None, str | None]] | None = None
    ) -> list[int | Refusal]:
        """What each receiver that knows the hook says to deliveries made with these secrets, or its present ones."""
        name, known = hook.url.rpartition("/")[2], self.routes()
        complete = self.redis.exists(DIRECTORY_SHARDS)
        asked = [known.get(name)] if complete or name in known else []
        asked += [self.laggard[0][name]] if self.laggard and name in self.laggard[0] else []
        found = []
        for token, signing_token in secrets or [(hook.token, hook.signing_token)]:
            sender = replace(hook, token=token, signing_token=signing_token)
            headers = delivery_headers(self.world.instance, sender, "push_events", "id", base_url="")
            _sign_into(headers, self.world.instance, sender, "id", b"{}")
            raw = {key.lower().encode(): value.encode() for key, value in headers.items()}
            found += [verify(route, raw, b"{}", now=time.time()) for route in asked]
        return found

    def _judge(self, request: Received) -> int:
        """A delivery that GitLab has made: answered, and noted."""
        name = request.path.rpartition("/")[2]
        route = self.routes().get(name)
        headers = {key.lower().encode(): value.encode() for key, value in request.headers.items()}
        verdict = verify(route, headers, request.body, now=time.time())
        if route is None:
            return 401 if self.redis.exists(DIRECTORY_SHARDS) else 503
        refused = isinstance(verdict, Refusal)
        said_at = int(self.now().timestamp() * 1000)
        notes = {"refused": said_at, "refused:reason": str(verdict)} if refused else {f"accepted:{verdict}": said_at}
        self.redis.hset(feedback_key(name), mapping=notes)
        return 401 if refused else 200

    def deliver(self) -> None:
        """Something happens for every hook that is for us and on."""

        async def send() -> None:
            now = self.world.clock.now()
            for hook in [hook for place in self.world.parents for hook in place.hooks.values()]:
                on = hook.alert_status(self.world.instance, now) == "executable"
                if on and hook.events and hook.url.startswith(self.public_url):
                    await self.simulator.forge.engine.send(hook, Event(toggle=min(hook.events), data={}))

        self.simulator.run(send())


class Operator:
    """One process: all that is not in Kubernetes, Redis or GitLab is lost with it."""

    def __init__(self, ground: Ground, births: Mapping[str, int], fate: Fate) -> None:
        self._ground, self._fate, self._exit = ground, fate, contextlib.AsyncExitStack()
        self.cluster = Kept([], ground.state)
        self.cluster.births = births
        self._due: dict[Ref, None] = {}
        self._unpublished: set[str] | None = None
        self._runner = ground.runner.run(self._start())
        self._started = False

    async def _start(self) -> Runner:
        world = await self._exit.enter_async_context(assembled(self._ground.settings, self.cluster))
        self._world = mortal(replace(world, clock=self._ground.now), self._fate)
        self._inventory = self._world.inventory
        return Runner(self._world, resync_interval=600, wake=lambda ref, _: self._due.setdefault(ref))

    def end(self) -> None:
        self._ground.runner.run(self._exit.aclose())

    def look_after(self, documents: Sequence[dict[str, Any]], names: set[str] | None = None) -> None:
        """A run over each resource, or some, as the watches show them. Raises Killed."""
        self._ground.acknowledge()
        self.cluster.show(documents)
        self._ground.runner.run(self._look_after(names))

    async def _look_after(self, names: set[str] | None) -> None:
        """As `control.Control` would, one after the other."""
        refs = self.cluster.refs()
        gone = [replace(Resource.from_body(body), deleted_at=None) for body in self.cluster.removed(self._ground.now())]
        if not self._started or (not self._unpublished and not self._ground.redis.exists(DIRECTORY_SHARDS)):
            self._unpublished = {ref.name for ref in refs if ref.kind == "GitPulseProject"}
            self._unpublished |= {resource.ref.name for resource in gone}
            self._started = True
        for resource in gone:
            with contextlib.suppress(OperatorError):
                await self._runner.clean_up(resource)
                self.cluster.forget(resource.ref)
                await self._published(resource.ref.name)
        for ref in refs:
            body = await self.cluster.read(ref)
            assert body is not None
            self._inventory.put(ref, body)
            if names is None or ref.name in names:
                run = await self._run(ref)
                for member in self._inventory.members(ref):
                    await self._run(member)
                if not isinstance(run.error, ClusterUnavailable | DirectoryUnavailable):
                    await self._published(ref.name)
        while self._due:  # a group adds up again, say
            ref = next(iter(self._due))
            del self._due[ref]
            if self.cluster.knows(ref.name):
                await self._run(ref)

    async def _run(self, ref: Ref) -> Run:
        self._due.pop(ref, None)
        run = await self._runner.run(ref)
        assert not isinstance(run.error, Defect), f"a defect in the run over {ref}"
        return run

    async def _published(self, name: str) -> None:
        if self._unpublished is not None:
            self._unpublished.discard(name)
            if not self._unpublished:
                with contextlib.suppress(OperatorError):
                    await self._world.directory.mark_complete()
                    self._unpublished = None

    def resource(self, name: str) -> Resource:
        """As Kubernetes has it."""
        (ref,) = (ref for ref in self.cluster.refs() if ref.name == name)
        return Resource.from_body(self.cluster._bodies[ref])

    def written(self) -> str:
        """All that it ever wrote into Kubernetes."""
        return json.dumps(self.cluster._state)


def _world() -> World:
    """The demo's, with a project in a subgroup."""
    world = demo_world()
    (acme,) = world.groups.values()
    world.add_project("inner", world.add_group("deep", parent=acme))
    return world


@contextlib.contextmanager
def common_ground() -> Iterator[Ground]:
    """Real parts for all sequences, until the block ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(Path(folder)) as redis,
        running_simulator(_world) as simulator,
        running_target() as target,
    ):
        ground = Ground(simulator, target, redis.url, Path(folder))
        patience = rotation.ACKNOWLEDGED_WITHIN
        rotation.ACKNOWLEDGED_WITHIN = (0.0,)  # a laggard lags until the sequence says otherwise
        try:
            with ground.runner:
                yield ground
        finally:
            rotation.ACKNOWLEDGED_WITHIN = patience
