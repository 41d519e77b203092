"""What the watches have shown: the newest body of each resource, and who depends on what. Plain dicts, no index."""

from __future__ import annotations

from collections import defaultdict

from gitpulse_operator.names import CONNECTION, PROJECT, secret_name
from gitpulse_operator.reconcile.resource import Body, Ref, mapping


class Inventory:
    """Resources by their names. A body that is older than the one we hold, as watches sometimes show, is ignored."""

    def __init__(self) -> None:
        self._bodies: dict[Ref, Body] = {}
        self._projects: defaultdict[tuple[str, str], set[Ref]] = defaultdict(set)  # by namespace and connection
        self._connections: defaultdict[tuple[str, str], set[Ref]] = defaultdict(set)  # by namespace and token's Secret
        self._members: defaultdict[Ref, set[Ref]] = defaultdict(set)  # of groups that are followed project by project
        self._brought: defaultdict[tuple[str, str], set[Ref]] = defaultdict(set)  # projects, by the Secret they name

    def get(self, ref: Ref) -> Body | None:
        """The newest body that is known."""
        return self._bodies.get(ref)

    def refs(self, kind: str) -> list[Ref]:
        """All known resources of a kind."""
        return [ref for ref in self._bodies if ref.kind == kind]

    def put(self, ref: Ref, body: Body) -> None:
        """Takes a body over, unless it is older than the one that is known."""
        known = self._bodies.get(ref)
        if known is not None and _age(body) < _age(known):
            return
        self.drop(ref)
        self._bodies[ref] = body
        for index in self._indexes(ref, body):
            index.add(ref)

    def drop(self, ref: Ref) -> None:
        """Forgets a resource that is gone."""
        if body := self._bodies.pop(ref, None):
            for index in self._indexes(ref, body):
                index.discard(ref)

    def members(self, whole: Ref) -> list[Ref]:
        """The projects of a group that is followed project by project, by their ids."""
        return sorted(self._members.get(whole, ()), key=lambda ref: ref.member)

    def users_of_connection(self, namespace: str, name: str) -> set[Ref]:
        """Projects that speak to GitLab through this connection."""
        return self._projects.get((namespace, name), set())

    def users_of_secret(self, namespace: str, name: str) -> set[Ref]:
        """Connections whose token is in this Secret with their projects, and projects whose hook secret it is."""
        connections = self._connections.get((namespace, name), set())
        users = set(self._brought.get((namespace, name), ()))
        users |= {ref for c in connections for ref in self.users_of_connection(namespace, c.name)} | connections
        owner = Ref(PROJECT, namespace, name.removeprefix(secret_name("")))
        return users | {owner} if owner in self._bodies and name == secret_name(owner.name) else users

    def _indexes(self, ref: Ref, body: Body) -> list[set[Ref]]:
        if ref.member:  # woken by its group
            return [self._members[ref.whole]]
        spec = mapping(body.get("spec"))
        if ref.kind == CONNECTION:
            return [self._connections[ref.namespace, str(mapping(spec.get("tokenSecretRef")).get("name"))]]
        indexes = [self._projects[ref.namespace, str(mapping(spec.get("connectionRef")).get("name"))]]
        if brought := mapping(mapping(spec.get("secret")).get("secretRef")).get("name"):
            indexes.append(self._brought[ref.namespace, str(brought)])
        return indexes


def _age(body: Body) -> int:
    """Of two bodies the one with the greater number is newer; 0 where there is none, as in files."""
    version = str(mapping(body.get("metadata")).get("resourceVersion"))
    return int(version) if version.isdigit() else 0
