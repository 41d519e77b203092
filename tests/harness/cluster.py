"""The operator on a real Kubernetes API, in this process, under the rights that it ships with."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import kopf
import prometheus_client

from gitpulse_operator.handlers import register
from gitpulse_operator.settings import OperatorSettings
from harness.controlplane import ROOT, ControlPlane
from harness.house import PUBLIC_URL, resource
from harness.processes import wait_until
from harness.simulator import Simulator

SYSTEM = "gitpulse-system"


async def eventually(condition: Callable[[], Any], *, what: str, within: float = 20) -> Any:
    """Polls in a thread, so that the operator in this loop goes on."""
    return await asyncio.to_thread(wait_until, condition, timeout=within, what=what)


def total(counter: prometheus_client.Counter, **labels: str) -> float:
    """Over all labels but those that are given."""
    samples = (s for m in counter.collect() for s in m.samples if s.name.endswith("_total"))
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


def operator_account(plane: ControlPlane) -> Path:
    """The kubeconfig of the operator's own ServiceAccount."""
    if plane.try_kubectl("get", "namespace", SYSTEM).returncode:
        plane.kubectl("create", "namespace", SYSTEM)
    return plane.kubeconfig_for("gitpulse-operator", SYSTEM, ROOT / "operator" / "rbac.yaml")


class Cluster:
    """A namespace of this test, and an operator for it alone, unless its settings name others."""

    def __init__(self, plane: ControlPlane, simulator: Simulator, redis_url: str, key: bytes, **settings: Any) -> None:
        self.plane, self.simulator = plane, simulator
        self.namespace = plane.namespace("handlers")
        self.settings = OperatorSettings.model_validate(
            {
                "redis_url": redis_url,
                "installation_key": key,
                "public_url": PUBLIC_URL,
                "metrics_port": 0,
                "backfill_days": 0,
            }
            | {"watch_namespaces": self.namespace, **settings}
        )

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[asyncio.Task[None]]:
        """kopf with our handlers, until the block ends."""
        registry, ready, stop = kopf.OperatorRegistry(), asyncio.Event(), asyncio.Event()
        register(registry, self.settings)
        running = asyncio.create_task(
            kopf.operator(
                registry=registry,
                settings=kopf.OperatorSettings(),
                namespaces=self.settings.namespaces,
                standalone=True,
                ready_flag=ready,
                stop_flag=stop,
            )
        )
        try:
            await asyncio.wait([running, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
            yield running
        finally:
            stop.set()
            await running

    @contextlib.asynccontextmanager
    async def looked_after(self) -> AsyncIterator[asyncio.Task[None]]:
        """The same, with a connection and the project `website`, which is ready."""
        self.apply_connection()
        self.apply_project()
        async with self.operator() as running:
            await eventually(self.is_ready, what="ready")
            yield running

    def kubectl(self, *arguments: str | Path) -> str:
        return self.plane.kubectl("-n", self.namespace, *arguments)

    def apply(self, *resources: dict[str, Any]) -> None:
        self.plane.apply(*resources, namespace=self.namespace)

    def delete(self, what: str) -> None:
        """Without waiting until it is gone."""
        self.kubectl("delete", what, "--wait=false")

    def apply_connection(self, token: str = "demo-token", **spec: Any) -> None:
        labels = {"app.kubernetes.io/part-of": "gitpulse"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gitlab-token", "labels": labels}}
        self.apply(
            {**secret, "stringData": {"token": token}},
            resource(
                "GitLabConnection",
                "gitlab",
                {"url": self.simulator.url, "tokenSecretRef": {"name": "gitlab-token"}, **spec},
            ),
        )

    def apply_project(self, name: str = "website", **spec: Any) -> None:
        wanted = {"connectionRef": {"name": "gitlab"}, "project": "acme/website", **spec}
        self.apply(resource("GitPulseProject", name, wanted))

    def get(self, kind: str, name: str, *more: str) -> dict[str, Any] | None:
        """The object, or None if there is none."""
        found = self.kubectl("get", kind, name, "--ignore-not-found", "-ojson", *more)
        return json.loads(found) if found else None

    def ready(self, kind: str, name: str) -> tuple[str, str] | None:
        """Status and reason of `Ready`."""
        status = (self.get(kind, name) or {}).get("status", {})
        found = [c for c in status.get("conditions", ()) if c["type"] == "Ready"]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def is_ready(self, name: str = "website") -> bool:
        return self.ready("gitpulseproject", name) == ("True", "Installed")

    def versions(self) -> dict[str, str]:
        """resourceVersion of everything in the namespace that somebody could have written."""
        kinds = "gitpulseprojects,gitlabconnections,gitpulseteams,secrets,events"
        found = json.loads(self.kubectl("get", kinds, "-o", "json"))
        return {f"{i['kind']}/{i['metadata']['name']}": i["metadata"]["resourceVersion"] for i in found["items"]}

    def events(self) -> Counter[str]:
        """How often each reason was told."""
        return Counter(event["reason"] for event in json.loads(self.kubectl("get", "events", "-ojson"))["items"])

    def annotate(self, what: str, value: str, name: str = "website") -> None:
        self.kubectl("annotate", "--overwrite", f"gitpulseproject/{name}", f"gitpulse.io/{what}-requested-at={value}")
