"""A folder of YAML files in the place of a cluster, for those without Kubernetes.

What Kubernetes would keep (generations, statuses, generated Secrets) is kept in one JSON file that only its owner may
read.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import logging
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
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


class FolderCluster:
    """The resources of some YAML files or folders of them, and a file with the state of each."""

    def __init__(
        self, manifests: Iterable[Path], state: Path, *, secrets: Path | None = None, read: bool = True
    ) -> None:
        """Reads them all, with the annotations that `annotate` has added; or (not `read`) leaves that to `load`.

        A file in the folder `secrets` is a Secret of its name, in each namespace, with the key `token`; it goes before
        one in the manifests. Raises ManifestInvalid.
        """
        self._manifests, self._path, self._brought = tuple(manifests), state, secrets
        self._state: dict[str, dict[str, Any]] = _kept(state)
        self._requests: dict[str, dict[str, str]] = {}
        self._secrets: dict[tuple[str, str], dict[str, bytes]] = {}
        self._bodies: dict[Ref, dict[str, Any]] = {}
        self._leaving: dict[Ref, dict[str, Any]] = {}
        if read:
            self.load()

    def load(self) -> set[tuple[str, str]]:
        """Reads the files as they are now; namespace and name of the Secrets that differ from before.

        Raises ManifestInvalid; then all is as it was. Nothing at all, where there was something, is taken for a mishap.
        """
        before = self._bodies, self._secrets, self._requests, copy.deepcopy(self._state)
        self._bodies, self._secrets = {}, {}
        try:
            self._add_all()
        except ManifestInvalid:
            self._bodies, self._secrets, self._requests, self._state = before
            raise
        for ref in self._bodies:
            self._state[_key(ref)].pop("deleted", None)
            self._leaving.pop(ref, None)
        names = before[1].keys() | self._secrets.keys()
        return {name for name in names if before[1].get(name) != self._secrets.get(name)}

    def stamp(self) -> tuple[object, ...]:
        """Differs when one of the files does that `load` reads."""
        try:
            files = [*_files(self._manifests), *_brought(self._brought), self._path.with_name(REQUESTS)]
        except ManifestInvalid as error:
            return (str(error),)
        found: list[object] = []
        for file in files:
            with contextlib.suppress(OSError):
                about = file.stat()
                found.append((file, about.st_mtime_ns, about.st_size, about.st_ino))
        return tuple(found)

    def refs(self) -> list[Ref]:
        """All connections, then all projects, then all teams."""
        return sorted(self._bodies, key=lambda ref: (list(PLURALS).index(ref.kind), ref.namespace, ref.name))

    def removed(self, now: datetime) -> list[Body]:
        """Projects that the state knows and the files no longer have, as deleted when that was first asked."""
        held = {_key(ref) for ref in (*self._bodies, *self._leaving)}
        for key in [key for key in self._state if key.startswith(PROJECT) and key not in held]:
            since = self._state[key].setdefault("deleted", now.isoformat())
            body = self._leaving[_ref(key)] = self._body(_ref(key), self._state[key]["spec"])
            body["metadata"]["deletionTimestamp"] = since
            self._save()
        return list(self._leaving.values())

    def forget(self, ref: Ref) -> None:
        """Drops the state of a removed project, its Secret with it."""
        self._leaving.pop(ref, None)
        self._state.pop(_key(ref), None)
        self._save()

    async def read(self, ref: Ref) -> Body | None:
        return self._bodies.get(ref)

    async def bodies(self, kind: str) -> list[Body]:
        return [body for ref, body in self._bodies.items() if ref.kind == kind]

    async def annotate(self, ref: Ref, annotations: Mapping[str, str]) -> None:
        """Adds annotations to a resource, beside the files: whoever reads the folder next sees them."""
        kept = _kept(self._path.with_name(REQUESTS))
        kept[_key(ref)] = self._requests[_key(ref)] = {**kept.get(_key(ref), {}), **annotations}
        write_own(self._path.with_name(REQUESTS), json.dumps(kept, indent=1))

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
        body = self._bodies.get(resource.ref) or self._leaving.get(resource.ref)
        if body is None:
            return None
        entry = self._state[_key(resource.ref)]
        body["status"] = entry["status"] = merged(entry.get("status", {}), patch)
        self._save()
        return body

    async def memory(self, owner: Resource) -> bytes | None:
        kept = self._state[_key(owner.ref)].get("memory")
        return base64.b64decode(kept) if kept else None

    async def remember(self, owner: Resource, data: bytes) -> None:
        self._state[_key(owner.ref)]["memory"] = base64.b64encode(data).decode()
        self._save()

    async def note(self, resource: Resource, note: Note) -> None:
        logger.info("%s: %s: %s", resource.ref, note.reason, note.message)

    def _add_all(self) -> None:
        self._requests = _kept(self._path.with_name(REQUESTS))
        for file, document in documents(self._manifests):
            self._add(file, document)
        if self._manifests and self._state and not self._bodies:
            raise ManifestInvalid(
                f"{', '.join(map(str, self._manifests))}: no resource is there any more, which is taken for a mishap;"
                " to have hooks removed, remove their projects and leave the connection, by which that is done"
            )
        namespaces = {ref.namespace for ref in self._bodies}
        for file in _brought(self._brought):
            data = {"token": _read(file).strip()}
            self._secrets.update({(namespace, file.name): data for namespace in namespaces})

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
        elif str(document.get("apiVersion")).startswith(f"{GROUP}/"):  # a slip here would have a hook removed
            raise ManifestInvalid(f"{file}: there is no kind {kind}; there are {', '.join(PLURALS)}")

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
        write_own(self._path, json.dumps(self._state, indent=1))


def state_of(manifests: Path) -> Path:
    """Where the state of a folder, or of a file of resources, is kept unless somebody says otherwise."""
    return (manifests if manifests.is_dir() else manifests.parent) / ".gitpulse" / "state.json"


def _kept(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        raise ManifestInvalid(f"{path}: damaged; put a copy in its place, or remove it to begin anew") from None
    return found


def write_own(path: Path, text: str) -> None:
    """At once or not at all, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
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
            yield from (file for file in _listed(path) if file.suffix in (".yaml", ".yml"))
        elif path.exists():
            yield path
        else:
            raise ManifestInvalid(f"{path}: no such file or folder")


def _brought(secrets: Path | None) -> list[Path]:
    return [file for file in _listed(secrets) if file.is_file()] if secrets else []


def _listed(folder: Path) -> list[Path]:
    """What is in it by name, without what editors hide there."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ManifestInvalid(f"{folder}: cannot be read ({error.strerror})") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ManifestInvalid(f"{file}: cannot be read ({error.strerror})") from None


def _documents(file: Path) -> list[Body]:
    text = _read(file)
    try:
        documents = [document for document in yaml.safe_load_all(text.decode()) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"{file}: not YAML: {_wrong(error)}") from None
    for document in documents:
        if not isinstance(document, Mapping):
            raise ManifestInvalid(f"{file}: a resource must be an object")
    return documents


def _wrong(error: Exception) -> str:
    """What is wrong and where, without the line itself and what is quoted of it: it may be a Secret's."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    what = re.sub("'.{2,}'", "'…'", error.problem or "it cannot be read")
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {what}"


def _secret_data(file: Path, document: Body) -> dict[str, bytes]:
    try:
        encoded = mapping(document.get("data")).items()
        data = {key: base64.b64decode(str(value), validate=True) for key, value in encoded}
    except ValueError:
        raise ManifestInvalid(f"{file}: `data` of a Secret must be base64; plain text goes into `stringData`") from None
    return data | {key: str(value).encode() for key, value in mapping(document.get("stringData")).items()}
