"""A folder of YAML files in the place of a cluster, for those without Kubernetes.

What Kubernetes would keep (generations, statuses, generated Secrets) is kept in one JSON file that only its owner may
read.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gitpulse_operator.domain.patch import merged
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.names import API_VERSION, FINALIZER, GROUP, PLURALS, PROJECT
from gitpulse_operator.reconcile.resource import Body, Note, Ref, Resource, mapping

logger = logging.getLogger(__name__)

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, GROUP)
"""A resource's uid is derived from its name: hook URLs stay the same when the state is lost."""


REQUESTS = "requests.json"
"""File beside the state: what was asked for by annotations that are not in the manifests."""


class ManifestInvalid(OperatorError):
    """A file that cannot be read as Kubernetes resources."""

    reason = "ManifestInvalid"


class FolderCluster:
    """The resources of some YAML files or folders of them, and a file with the state of each."""

    def __init__(self, manifests: Iterable[Path], state: Path) -> None:
        """Reads them all, with the annotations that `annotate` has added. Raises ManifestInvalid."""
        self._path = state
        self._requests: dict[str, dict[str, str]] = _kept(state.with_name(REQUESTS))
        self._state: dict[str, dict[str, Any]] = _kept(state)
        self._secrets: dict[tuple[str, str], dict[str, bytes]] = {}
        self._bodies: dict[Ref, dict[str, Any]] = {}
        for file, document in documents(manifests):
            self._add(file, document)

    def refs(self) -> list[Ref]:
        """All connections, then all projects, then all teams."""
        return sorted(self._bodies, key=lambda ref: (list(PLURALS).index(ref.kind), ref.namespace, ref.name))

    def removed(self) -> list[Resource]:
        """Projects that the state knows and the files no longer have."""
        held = {_key(ref) for ref in self._bodies}
        gone = [key for key in self._state if key.startswith(PROJECT) and key not in held]
        return [Resource.from_body(self._body(_ref(key), self._state[key]["spec"])) for key in gone]

    def forget(self, resource: Resource) -> None:
        """Drops the state of a removed project, its Secret with it."""
        self._state.pop(_key(resource.ref), None)
        self._save()

    async def read(self, ref: Ref) -> Body | None:
        return self._bodies.get(ref)

    async def bodies(self, kind: str) -> list[Body]:
        return [body for ref, body in self._bodies.items() if ref.kind == kind]

    async def annotate(self, ref: Ref, annotations: Mapping[str, str]) -> None:
        """Adds annotations to a resource, beside the files: whoever reads the folder next sees them."""
        kept = _kept(self._path.with_name(REQUESTS))
        kept[_key(ref)] = self._requests[_key(ref)] = {**kept.get(_key(ref), {}), **annotations}
        _write(self._path.with_name(REQUESTS), kept)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        if given := self._secrets.get((namespace, name)):
            return given
        for key, entry in self._state.items():
            if key.split("/")[1] == namespace and name in entry.get("secrets", {}):
                return {field: base64.b64decode(value) for field, value in entry["secrets"][name].items()}
        return None

    async def create_secret(self, owner: Resource, name: str, data: Mapping[str, bytes]) -> None:
        secrets = self._state[_key(owner.ref)].setdefault("secrets", {})
        secrets[name] = {field: base64.b64encode(value).decode() for field, value in data.items()}
        self._save()

    async def change_secret(
        self, owner: Resource, name: str, before: Mapping[str, bytes], changes: Mapping[str, bytes | None]
    ) -> None:
        after = {key: value for key, value in {**before, **changes}.items() if value is not None}
        await self.create_secret(owner, name, after)

    async def write_status(self, resource: Resource, patch: Body) -> Body | None:
        entry = self._state[_key(resource.ref)]
        entry["status"] = merged(entry.get("status", {}), patch)
        self._save()
        body = self._bodies[resource.ref]
        body["status"] = entry["status"]
        return body

    async def memory(self, owner: Resource) -> bytes | None:
        kept = self._state[_key(owner.ref)].get("memory")
        return base64.b64decode(kept) if kept else None

    async def remember(self, owner: Resource, data: bytes) -> None:
        self._state[_key(owner.ref)]["memory"] = base64.b64encode(data).decode()
        self._save()

    async def note(self, resource: Resource, note: Note) -> None:
        logger.info("%s: %s: %s", resource.ref, note.reason, note.message)

    def _add(self, file: Path, document: Body) -> None:
        meta = mapping(document.get("metadata"))
        kind, name, namespace = str(document.get("kind")), meta.get("name"), str(meta.get("namespace") or "default")
        if not isinstance(name, str):
            raise ManifestInvalid(f"{file}: a {kind} without `metadata.name`")
        if kind == "Secret":
            self._secrets[namespace, name] = _secret_data(file, document)
        elif kind in PLURALS:
            ref = Ref(kind, namespace, name)
            if ref in self._bodies:
                raise ManifestInvalid(f"{file}: {ref} is there twice")
            self._bodies[ref] = self._body(ref, mapping(document.get("spec")), mapping(meta.get("annotations")))

    def _body(self, ref: Ref, spec: Body, annotations: Body | None = None) -> dict[str, Any]:
        entry = self._state.setdefault(_key(ref), {"generation": 0, "spec": None})
        if entry["spec"] != spec:
            entry.update(spec=spec, generation=entry["generation"] + 1)
        return {
            "apiVersion": API_VERSION,
            "kind": ref.kind,
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "uid": str(uuid.uuid5(NAMESPACE, _key(ref))),
                "generation": entry["generation"],
                "finalizers": [FINALIZER],
                "annotations": {**(annotations or {}), **self._requests.get(_key(ref), {})},
            },
            "spec": spec,
            "status": entry.get("status", {}),
        }

    def _save(self) -> None:
        _write(self._path, self._state)


def state_of(manifests: Path) -> Path:
    """Where the state of a folder, or of a file of resources, is kept unless somebody says otherwise."""
    return (manifests if manifests.is_dir() else manifests.parent) / ".gitpulse" / "state.json"


def _kept(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        raise ManifestInvalid(f"{path}: damaged; put a copy in its place, or remove it to begin anew") from None
    return found


def _write(path: Path, value: Mapping[str, object]) -> None:
    """At once or not at all, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=1)
    draft.replace(path)


def _key(ref: Ref) -> str:
    return f"{ref.kind}/{ref.namespace}/{ref.name}"


def _ref(key: str) -> Ref:
    kind, namespace, name = key.split("/")
    return Ref(kind, namespace, name)


def documents(manifests: Iterable[Path]) -> Iterator[tuple[Path, Body]]:
    """All YAML documents of these files or folders of them. Raises ManifestInvalid."""
    return ((file, document) for file in _files(manifests) for document in _documents(file))


def _files(manifests: Iterable[Path]) -> Iterator[Path]:
    for path in manifests:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
        elif path.exists():
            yield path
        else:
            raise ManifestInvalid(f"{path}: no such file or folder")


def _documents(file: Path) -> list[Body]:
    try:
        documents = [document for document in yaml.safe_load_all(file.read_text()) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    for document in documents:
        if not isinstance(document, Mapping):
            raise ManifestInvalid(f"{file}: a resource must be an object")
    return documents


def _secret_data(file: Path, document: Body) -> dict[str, bytes]:
    try:
        encoded = mapping(document.get("data")).items()
        data = {key: base64.b64decode(str(value), validate=True) for key, value in encoded}
    except ValueError:
        raise ManifestInvalid(f"{file}: `data` of a Secret must be base64; plain text goes into `stringData`") from None
    return data | {key: str(value).encode() for key, value in mapping(document.get("stringData")).items()}
