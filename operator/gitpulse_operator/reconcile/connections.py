"""Keeps one GitLab open for each GitLabConnection, so that all projects of a connection share its request budget."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from gitpulse_operator.domain.spec import ConnectionSpec, parse_connection
from gitpulse_operator.errors import ConnectionMissing, CredentialsError, CredentialsInvalid, SecretMissing
from gitpulse_operator.metrics import BUDGET_LEFT
from gitpulse_operator.names import CONNECTION
from gitpulse_operator.reconcile.resource import Ref, Resource
from gitpulse_operator.reconcile.turns import Turns

if TYPE_CHECKING:
    from gitpulse_operator.reconcile.ports import Cluster, Connect, GitLab

TOKEN = re.compile(r"[!-~]+")
ROTATION_REQUESTS = 8
"""A rotation takes about four requests to GitLab; so that many at once leave half of the budget to other work."""
REMEMBERED = 600.0
"""Seconds for which a connection that is gone still serves what is being deleted after it."""


class OpenConnections:
    """The GitLabs in use, by namespace and name of their connection."""

    def __init__(self, cluster: Cluster, connect: Connect) -> None:
        self._cluster = cluster
        self._connect = connect
        self._open: dict[tuple[str, str], tuple[ConnectionSpec, str, GitLab]] = {}
        self._closed: dict[tuple[str, str], tuple[float, GitLab]] = {}
        self._rotation_requests: dict[tuple[str, str], str | None] = {}
        self._turns: dict[tuple[str, str], Turns] = {}
        self._opening = asyncio.Lock()

    async def open(self, namespace: str, name: str) -> GitLab:
        """The GitLab of this connection. Raises ConnectionMissing, SecretMissing or SpecInvalid."""
        if held := self._open.get((namespace, name)):
            return held[2]
        return await self.reopen(namespace, name)

    async def open_to_clean_up(self, namespace: str, name: str) -> GitLab:
        """The same for what is being deleted: `kubectl delete -f` takes a connection and its token away as well.

        A process that had it open a short while ago uses it as it was then.
        """
        try:
            return await self.open(namespace, name)
        except (ConnectionMissing, SecretMissing):
            since, gitlab = self._closed.get((namespace, name), (float("-inf"), None))
            if gitlab is None or asyncio.get_running_loop().time() - since > REMEMBERED:
                raise
            return gitlab

    async def reopen(self, namespace: str, name: str) -> GitLab:
        """The same, after a look at whether its spec or token has changed; if not, it stays as it is."""
        async with self._opening:
            try:
                spec, token = await self._read(namespace, name)
            except CredentialsError:
                self.forget(namespace, name)
                raise
            held = self._open.get((namespace, name))
            if held and held[:2] == (spec, token):
                return held[2]
            gitlab = self._connect(spec, token)
            self._open[namespace, name] = (spec, token, gitlab)
            BUDGET_LEFT.labels(f"{namespace}/{name}").set_function(gitlab.budget_left)
            return gitlab

    def rotation_requested(self, namespace: str, name: str) -> str | None:
        """By which value new secrets were asked for, for all hooks of an open connection."""
        return self._rotation_requests.get((namespace, name))

    def rotation_turn(self, namespace: str, name: str, who: Ref) -> float:
        """Seconds until it is this one's turn to rotate among those of an open connection; 0: it is, once."""
        held = self._open.get((namespace, name))
        if held is None:  # forgotten just now: whoever comes next opens it again
            return 1.0
        gap = ROTATION_REQUESTS / held[0].requests_per_second
        turns = self._turns.setdefault((namespace, name), Turns())
        return turns.wait(who, gap, now=asyncio.get_running_loop().time())

    def forget(self, namespace: str, name: str) -> None:
        """Drops a connection; whoever needs it opens it again."""
        if held := self._open.pop((namespace, name), None):
            self._closed[namespace, name] = (asyncio.get_running_loop().time(), held[2])
            BUDGET_LEFT.remove(f"{namespace}/{name}")

    async def _read(self, namespace: str, name: str) -> tuple[ConnectionSpec, str]:
        body = await self._cluster.read(Ref(CONNECTION, namespace, name))
        if body is None:
            raise ConnectionMissing(
                f'there is no GitLabConnection "{name}" in this namespace; create it, or correct `connectionRef`'
            )
        resource = Resource.from_body(body)
        self._rotation_requests[namespace, name] = resource.rotation_requested
        spec = parse_connection(resource.spec)
        data = await self._cluster.secret(namespace, spec.token.name)
        if data is None:
            raise SecretMissing(
                f'there is no Secret "{spec.token.name}", where GitLabConnection "{name}" expects its token'
            )
        token = data.get(spec.token.key, b"").decode(errors="replace").strip()
        if not token:
            raise SecretMissing(
                f'Secret "{spec.token.name}" of GitLabConnection "{name}" holds no token under "{spec.token.key}"'
            )
        if not TOKEN.fullmatch(token):
            raise CredentialsInvalid(
                f'Secret "{spec.token.name}" of GitLabConnection "{name}" holds no token under "{spec.token.key}", '
                "but something with blanks or other characters that none can have"
            )
        return spec, token
