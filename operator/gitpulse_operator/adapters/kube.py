"""The Kubernetes API through the official client's asyncio half: resources, Secrets, statuses and Events."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.request import getproxies

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from gitpulse_operator.errors import ClusterUnavailable, NoKubernetes, NotAllowed, SecretTaken, StatusRefused
from gitpulse_operator.names import API_VERSION, GROUP, OWNER, PART_OF, PLURALS, PROJECT, VERSION, memory_name
from gitpulse_operator.reconcile.resource import Body, Note, Ref, Resource

T = TypeVar("T")
logger = logging.getLogger(__name__)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
REQUEST_TIMEOUT = 30.0
"""Seconds that one request may take."""
LONGEST_QUOTE = 500
"""Characters of Kubernetes' own words that a message repeats."""
PAGE = 500
"""Resources a page of a list; a page of this size is a few MiB at most."""

MEMORY = "members"
"""Key of a ConfigMap with what is remembered of a group's projects."""


class KubeCluster:
    """A cluster, as the service account or kubeconfig of this process may see it."""

    def __init__(self, api: client.ApiClient, namespaces: Sequence[str], selector: str) -> None:
        self.api = api
        self._selector = selector
        self._namespaces = namespaces
        self._core = client.CoreV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        self.namespace = "default"
        """Where a name without one is looked for, as the kubeconfig has it."""

    @classmethod
    async def connect(
        cls, kubeconfig: str | None = None, *, context: str = "", namespaces: Sequence[str] = (), selector: str = ""
    ) -> Self:
        """Uses this kubeconfig; else that of `KUBECONFIG` or the home folder; else the pod's service account.

        `context`: the one of the kubeconfig to use, where that is not the current one.

        Resources are listed in these namespaces or, if none are given, in all. Of projects it sees those whose labels
        match the selector. Makes no request yet.
        Raises NoKubernetes.
        """
        configuration, namespace = client.Configuration(), None
        path = kubeconfig or os.environ.get("KUBECONFIG") or config.KUBE_CONFIG_DEFAULT_LOCATION
        try:
            if kubeconfig or has_kubeconfig():
                if not any(Path(part).expanduser().exists() for part in path.split(os.pathsep)):  # noqa: ASYNC240 - at start
                    raise NoKubernetes(f"there is no kubeconfig {path}; set KUBECONFIG to one, or run in a pod")
                loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
                    path, context or None, client_configuration=configuration, persist_config=False
                )
                namespace = loader.current_context["context"].get("namespace")
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise NoKubernetes(
                f"no way to Kubernetes ({error}); set KUBECONFIG to a file that is right, or run in a pod"
            ) from None
        # Else each request waits for two threads, to look for a proxy and a netrc.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies())}
        cluster = cls(client.ApiClient(configuration), namespaces, selector)
        cluster.namespace = namespace or cluster.namespace
        return cluster

    @property
    def host(self) -> str:
        """URL of its API server."""
        return str(self.api.configuration.host)

    async def close(self) -> None:
        """Closes the connections."""
        await self.api.close()  # type: ignore[no-untyped-call]

    async def read(self, ref: Ref) -> Body | None:
        if self._selector and ref.kind == PROJECT:  # only a list goes by labels
            matching = await self._listed(ref.kind, [ref.namespace], ref.name)
            return matching[0] if matching else None
        return _body(
            await found(
                self._custom.get_namespaced_custom_object(GROUP, VERSION, ref.namespace, PLURALS[ref.kind], ref.name)
            )
        )

    async def bodies(self, kind: str) -> list[Body]:
        return await self._listed(kind, self._namespaces)

    async def _listed(self, kind: str, namespaces: Sequence[str], name: str | None = None) -> list[Body]:
        everywhere = partial(self._custom.list_cluster_custom_object, GROUP, VERSION, PLURALS[kind])
        listings = [
            partial(self._custom.list_namespaced_custom_object, GROUP, VERSION, namespace, PLURALS[kind])
            for namespace in namespaces
        ]
        bodies: list[Body] = []
        for listing in listings or [everywhere]:
            token: str | None = ""
            while token is not None:
                request = listing(
                    field_selector=name and f"metadata.name={name}",
                    label_selector=self._selector if kind == PROJECT else None,
                    limit=PAGE,
                    _continue=token,
                )
                page: Any = await found(request)
                if page is None:
                    raise ClusterUnavailable(
                        f"this cluster does not know the kind {kind}: install the chart, or: kubectl apply -f crds/"
                    )
                bodies += page["items"]
                token = page["metadata"].get("continue") or None
        return bodies

    async def annotate(self, ref: Ref, annotations: Mapping[str, str]) -> None:
        """Adds annotations to a resource that is there, or changes them. Raises ClusterUnavailable."""
        await reached(
            self._custom.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                ref.namespace,
                PLURALS[ref.kind],
                ref.name,
                {"metadata": {"annotations": dict(annotations)}},
                _content_type=MERGE_PATCH,
            )
        )

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        known = await found(self._core.read_namespaced_secret(name, namespace))
        return None if known is None else {key: base64.b64decode(value) for key, value in (known.data or {}).items()}

    async def create_secret(self, owner: Resource, name: str, data: Mapping[str, bytes]) -> None:
        secret = client.V1Secret(metadata=_meta(name, owner), data=_encoded(data), type=f"{GROUP}/hook")
        try:
            await reached(self._core.create_namespaced_secret(owner.ref.namespace, secret))
        except AlreadyThere:
            raise SecretTaken(
                f'the Secret "{name}" is there and holds no secret of a hook; delete it, and a right one is made'
            ) from None

    async def change_secret(
        self, owner: Resource, name: str, before: Mapping[str, bytes], changes: Mapping[str, bytes | None]
    ) -> None:
        # Kubernetes refuses the whole patch if its test fails: of two operators that overlap only one has its way.
        patch: list[dict[str, object]] = [{"op": "test", "path": "/data", "value": _encoded(before)}]
        patch += [
            {"op": "remove", "path": f"/data/{key}"}
            if value is None
            else {"op": "add", "path": f"/data/{key}", "value": base64.b64encode(value).decode()}
            for key, value in changes.items()
        ]
        request = self._core.patch_namespaced_secret(name, owner.ref.namespace, patch, _content_type=JSON_PATCH)
        try:
            await reached(request)
        except (_NotThere, _Unfit):
            raise ClusterUnavailable(f'the Secret "{name}" was changed by somebody else just now') from None

    async def write_status(self, resource: Resource, patch: Body) -> Body | None:
        request = self._custom.patch_namespaced_custom_object_status(
            GROUP,
            VERSION,
            resource.ref.namespace,
            PLURALS[resource.ref.kind],
            resource.ref.name,
            {"status": dict(patch)},
            _content_type=MERGE_PATCH,
        )
        try:
            return _body(await found(request))
        except _Unfit as refusal:
            raise StatusRefused(
                f"Kubernetes refuses the status: {refusal.said}; if the installed kinds are older than this operator, "
                "apply its own (crds/)"
            ) from None

    async def memory(self, owner: Resource) -> bytes | None:
        name, namespace = memory_name(owner.ref.name), owner.ref.namespace
        kept = await found(self._core.read_namespaced_config_map(name, namespace))
        return base64.b64decode(kept.binary_data[MEMORY]) if kept and kept.binary_data else None

    async def remember(self, owner: Resource, data: bytes) -> None:
        name, namespace = memory_name(owner.ref.name), owner.ref.namespace
        binary: dict[str, bytes | str] = {MEMORY: base64.b64encode(data).decode()}
        patched = await found(
            self._core.patch_namespaced_config_map(name, namespace, {"binaryData": binary}, _content_type=MERGE_PATCH)
        )
        if patched is None:
            made = client.V1ConfigMap(metadata=_meta(name, owner), binary_data=binary)
            await reached(self._core.create_namespaced_config_map(namespace, made))

    async def note(self, resource: Resource, note: Note) -> None:
        now = datetime.now(UTC)
        event = client.CoreV1Event(
            metadata=client.V1ObjectMeta(generate_name=f"{resource.ref.name}-", namespace=resource.ref.namespace),
            involved_object=client.V1ObjectReference(
                api_version=API_VERSION,
                kind=resource.ref.kind,
                namespace=resource.ref.namespace,
                name=resource.ref.name,
                uid=resource.uid,
            ),
            type=note.type,
            reason=note.reason,
            message=note.message[:1024],
            first_timestamp=now,
            last_timestamp=now,
            count=1,
            source=client.V1EventSource(component="gitpulse-operator"),
        )
        try:
            await reached(self._core.create_namespaced_event(resource.ref.namespace, event))
        except ClusterUnavailable as error:  # a namespace that is being deleted takes none; nothing depends on one
            logger.info("no Event %s for %s: %s", note.reason, resource.ref, error)


def _encoded(data: Mapping[str, bytes]) -> dict[str, bytes | str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _meta(name: str, owner: Resource) -> client.V1ObjectMeta:
    """Of what goes with its owner."""
    reference = client.V1OwnerReference(
        api_version=API_VERSION, kind=owner.ref.kind, name=owner.ref.name, uid=owner.uid, controller=True
    )
    return client.V1ObjectMeta(name=name, labels=dict([PART_OF, (OWNER, owner.ref.name)]), owner_references=[reference])


def has_kubeconfig() -> bool:
    """Whether this process was told of a kubeconfig, or its home has one."""
    return bool(os.environ.get("KUBECONFIG")) or Path(config.KUBE_CONFIG_DEFAULT_LOCATION).expanduser().exists()


def _body(answer: object) -> Body | None:
    return answer if isinstance(answer, Mapping) else None


async def found(request: Awaitable[T]) -> T | None:
    """The answer, or None where there is no such thing."""
    try:
        return await reached(request)
    except _NotThere:
        return None


async def reached(request: Awaitable[T]) -> T:
    """The answer. Raises ClusterUnavailable."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            return await request
    except ApiException as error:
        kinds = {403: NotAllowed, 404: _NotThere, 409: AlreadyThere, 422: _Unfit}
        kind, said = kinds.get(error.status, ClusterUnavailable), _said(error)
        words = f": {said}" if said and kind is NotAllowed else ""  # they hold nothing of what was sent
        refusal = kind(f"the Kubernetes API refuses: {error.status} {error.reason}{words}")
        if isinstance(refusal, _Unfit):
            refusal.said = said
        raise refusal from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ClusterUnavailable(f"the Kubernetes API cannot be reached ({type(error).__name__})") from None


def _said(error: ApiException) -> str:
    """Kubernetes' own words, as far as they are worth repeating."""
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(error.body or "{}").get("message"))[:LONGEST_QUOTE]
    return ""


class _NotThere(ClusterUnavailable):
    """404: gone, or its namespace is."""


class _Unfit(ClusterUnavailable):
    """422: what a patch takes for granted is not so, or its result breaks a rule."""

    said = ""
    """Kubernetes' own words, which may repeat what was sent."""


class AlreadyThere(ClusterUnavailable):
    """409: it was to be made, or was changed since it was read."""
