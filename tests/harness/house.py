"""An operator without Kubernetes: resources in files, a simulated GitLab, a real Redis."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis as redis_client
import yaml

from gitpulse_operator.adapters.manifests import NAMESPACE, FolderCluster
from gitpulse_operator.composition import assembled
from gitpulse_operator.domain.conditions import READY, Condition, find
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.names import TEAM
from gitpulse_operator.reconcile.resource import Body, Ref, Resource
from gitpulse_operator.reconcile.runner import Runner
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import DIRECTORY, Route, unseal
from gitpulse_sim.hook import Hook
from harness.simulator import Simulator

PUBLIC_URL = "https://gitpulse.example.com"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A resource of the folder after a run."""

    ref: Ref
    spec: Body
    status: Body
    ready: Condition


async def reconcile_folder(settings: OperatorSettings, manifests: Iterable[Path], *, state: Path) -> list[Reconciled]:
    """Runs once over each resource, one after the other, and over whomever that wakes. Raises ManifestInvalid.

    `state` is the file that keeps generated secrets and statuses from one call to the next; projects that have left
    the manifests since then are cleaned up. What is wrong with one resource is in its `ready`.
    """
    cluster = FolderCluster(manifests, state)
    async with assembled(settings, cluster) as world:
        due = dict.fromkeys(cluster.refs())
        runner = Runner(world, resync_interval=settings.resync_interval, wake=lambda ref, _: due.setdefault(ref))
        for resource in map(Resource.from_body, cluster.removed(datetime.now(UTC))):
            try:
                await runner.clean_up(resource)
                cluster.forget(resource.ref)
            except OperatorError as error:  # the next call tries again
                logger.warning("%s: its hook is not removed yet: %s", resource.ref, error)
        while due:  # runs over groups wake their projects, whose runs wake the groups
            ref = next(iter(due))
            del due[ref]
            await runner.run(ref)
        for place in await world.directory.teams():  # those that are gone are withdrawn; the others know all of them
            await runner.run(Ref(TEAM, *place))
        await world.directory.mark_complete()
    return [_reconciled(Resource.from_body(body)) for ref in cluster.refs() if (body := await cluster.read(ref))]


def _reconciled(resource: Resource) -> Reconciled:
    ready = find(resource.conditions, READY)
    unknown = Condition(READY, "Unknown", "NotReconciled", "The run over it did not come to an end; see the log.")
    return Reconciled(resource.ref, resource.spec, resource.status, ready or unknown)


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "gitpulse.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _team(place: str, spec: dict[str, Any]) -> dict[str, Any]:
    namespace, _, name = place.partition("/")
    made = resource("GitPulseTeam", name, spec)
    made["metadata"]["namespace"] = namespace
    return made


class House:
    """One folder of resources, looked after run by run; `state` is all that a run leaves to the next."""

    def __init__(self, folder: Path, simulator: Simulator, redis_url: str, key: bytes) -> None:
        self.simulator, self.redis_url, self.key = simulator, redis_url, key
        self.manifests = folder / "manifests"
        self.manifests.mkdir(parents=True)
        self.state = folder / "state.json"
        self.public_url = PUBLIC_URL
        self.connection: dict[str, Any] = {"url": simulator.url, "tokenSecretRef": {"name": "gitlab-token"}}
        self.token = simulator.token
        self.projects: dict[str, dict[str, Any]] = {"website": self.project()}
        self.teams: dict[str, dict[str, Any]] = {}
        """By `namespace/name`."""
        self.annotations: dict[str, dict[str, str]] = {}
        """Of projects and the connection, by name."""
        self.secrets: dict[str, dict[str, str]] = {}
        """What the user brings, by the names of Secrets."""
        self.settings: dict[str, Any] = {"backfill_days": 0}

    @staticmethod
    def project(**spec: Any) -> dict[str, Any]:
        target = {} if "group" in spec else {"project": "acme/website"}
        return {"connectionRef": {"name": "gitlab"}, **target, **spec}

    def change(self, name: str = "website", **spec: Any) -> None:
        self.projects[name] = {**self.projects[name], **spec}

    def write(self) -> OperatorSettings:
        """Puts the files there; the settings with which they are looked after."""
        secrets = {"gitlab-token": {"token": self.token}, **self.secrets}
        documents: Sequence[dict[str, Any]] = [
            resource("GitLabConnection", "gitlab", self.connection),
            *({"kind": "Secret", "metadata": {"name": name}, "stringData": data} for name, data in secrets.items()),
            *(resource("GitPulseProject", name, spec) for name, spec in self.projects.items()),
        ]
        documents = [*documents, *(_team(place, spec) for place, spec in self.teams.items())]
        for document in documents:
            document["metadata"]["annotations"] = self.annotations.get(document["metadata"]["name"], {})
        (self.manifests / "all.yaml").write_text(yaml.safe_dump_all(documents))
        fields = {"redis_url": self.redis_url, "installation_key": self.key, "public_url": self.public_url}
        return OperatorSettings.model_validate({**fields, "gitlab_timeout": 5, **self.settings})

    async def run(self) -> dict[str, Reconciled]:
        """One run over everything. The result is by name, of teams by `namespace/name`."""
        done = await reconcile_folder(self.write(), [self.manifests], state=self.state)
        return {
            each.ref.name if each.ref.kind != TEAM else f"{each.ref.namespace}/{each.ref.name}": each for each in done
        }

    @property
    def redis(self) -> redis_client.Redis:
        return redis_client.Redis.from_url(self.redis_url, single_connection_client=True)

    def flush(self) -> None:
        """Redis loses all it had."""
        self.redis.flushall()

    def uid(self, name: str) -> str:
        return str(uuid.uuid5(NAMESPACE, f"GitPulseProject/default/{name}"))

    def hooks(self, project: str = "acme/website") -> list[Hook]:
        """All hooks there, as the simulator holds them, secrets and all."""
        return list(self.simulator.world.project(project).hooks.values())

    def routes(self) -> dict[str, Route]:
        """What receivers would know."""
        with redis_client.Redis.from_url(self.redis_url) as client:
            sealed = client.hgetall(DIRECTORY)
        assert isinstance(sealed, dict)
        return {hook.decode(): unseal(self.key, hook.decode(), record) for hook, record in sealed.items()}

    def route_of(self, hook: Hook) -> Route:
        return self.routes()[hook.url.rpartition("/")[2]]


def conditions(done: Reconciled) -> dict[str, tuple[str, str]]:
    """Type -> status and reason."""
    entries = done.status["conditions"]
    assert isinstance(entries, list)
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in entries}
