"""What is examined: settings, resources and hooks, and the open ways to Redis and GitLab."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from redis.asyncio import Redis

from gitpulse_cli.doctor.check import Subject
from gitpulse_cli.hook_deliveries import attempted
from gitpulse_cli.places import View, connection_of, name
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.revival import Attempt
from gitpulse_operator.errors import OperatorError, RateLimited
from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.ports import GitLab, World
from gitpulse_operator.reconcile.resource import Resource
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import WEBHOOK_PATH
from gitpulse_service.log.connection import connect
from gitpulse_service.settings import ServiceSettings

MOST_TESTS = 20
"""Hooks of which a run has a test delivery made."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook that GitLab has, and where it is."""

    name: str
    resource: str
    """`namespace/name` of its GitPulseProject; empty: made by hand."""
    connection: str
    parent: Parent
    observed: ObservedHook
    route: str
    """The end of its URL; empty: made by hand."""


@dataclass
class Patient:
    """All that checks look at. They note in it what later ones need."""

    service: ServiceSettings
    url: str
    """Base URL of the receivers as GitLab knows it; empty: not known."""
    redis: Redis
    names: Collection[str] = ()
    world: World | None = None
    """None: the hook is made by hand."""
    by_hand: GitLab | None = None
    resources: list[Resource] = field(default_factory=list)
    may_test: bool = True
    hooks: list[Hook] = field(default_factory=list)
    receiver_ahead: float | None = None
    attempts: dict[str, Attempt] = field(default_factory=dict)

    @property
    def connections(self) -> list[Subject]:
        """The GitLabs that matter."""
        if self.world is None:
            return [Subject(self.service.gitlab_url)]
        own = {_connection(it) for it in self.projects} - {""}
        own |= {name(it) for it in self.resources if it.ref.kind == CONNECTION and not self.names}
        return [Subject(it) for it in sorted(own)]

    @property
    def projects(self) -> list[Resource]:
        """The GitPulseProjects that are looked at."""
        wanted = set(self.names)
        return [
            it for it in self.resources if it.ref.kind == PROJECT and (not wanted or wanted & {it.ref.name, name(it)})
        ]

    def subject_of(self, resource: Resource) -> Subject:
        return Subject(name(resource), (_connection(resource),))

    async def gitlab(self, connection: str) -> GitLab:
        """Raises what is wrong with the connection."""
        if self.world is None:
            assert self.by_hand
            return self.by_hand
        namespace, _, own = connection.partition("/")
        return await self.world.connections.open(namespace, own)

    async def test(self, hook: Hook) -> Attempt | None:
        """Has GitLab make a test delivery, once; None where it may not be made, as of a hook that is off.

        A test would switch that on, and the operator must be first: it notes what was missed meanwhile, to fetch it.
        """
        known = self.attempts.get(hook.name)
        if known or not self.may_test or hook.observed.state != "executable" or len(self.attempts) >= MOST_TESTS:
            return known
        with contextlib.suppress(RateLimited):
            _, known = await attempted(await self.gitlab(hook.connection), hook.parent, hook.observed)
            self.attempts[hook.name] = known
        return known

    async def gitlab_delivers(self) -> bool:
        """Whether a test delivery comes through, whatever this machine sees of the way."""
        for hook in self.hooks:
            with contextlib.suppress(OperatorError):
                if (attempt := await self.test(hook)) and attempt.result == "delivered":
                    return True
        return False


def is_for(url: str, base: str) -> bool:
    """Whether a hook's URL leads to these receivers, or, where the base is not known, to any."""
    return url.startswith(base + WEBHOOK_PATH) if base else WEBHOOK_PATH in urlsplit(url).path


@contextlib.asynccontextmanager
async def of_resources(settings: OperatorSettings, view: View, service: ServiceSettings) -> AsyncIterator[Patient]:
    """A house with an operator. Raises ClusterUnavailable."""
    from gitpulse_operator.composition import assembled

    resources = await view.all(CONNECTION, PROJECT)
    async with assembled(settings, view.cluster()) as world, connect(service.redis_url) as redis:
        yield Patient(service, settings.public_url, redis, world=world, resources=resources)


@contextlib.asynccontextmanager
async def by_hand(url: str, service: ServiceSettings) -> AsyncIterator[Patient]:
    """A receiver, a worker, and a hook that somebody has made."""
    async with connect(service.redis_url) as redis:
        patient, token = Patient(service, url, redis), service.gitlab_token.get_secret_value()
        if not (service.gitlab_url and token):
            yield patient
            return
        from gitpulse_operator.adapters.gitlab import GitLabs
        from gitpulse_operator.domain.spec import ConnectionSpec, SecretRef

        gitlabs = GitLabs(timeout=20, threads=4)
        try:
            spec = ConnectionSpec(service.gitlab_url, SecretRef("", ""), None, 10)
            patient.by_hand = gitlabs.connect(spec, token)
            yield patient
        finally:
            gitlabs.close()


def _connection(resource: Resource) -> str:
    """Empty where it names none."""
    connection = connection_of(resource)
    return f"{resource.ref.namespace}/{connection}" if connection else ""
