"""A real cluster in Docker, by kind, with our images on its node: pods run, Services route, volumes stay.

What `KIND_NODE_IMAGE` names is the node, by default kind's own. `GITPULSE_TEST_KIND` names a cluster that is made if it
is missing and kept, for whoever works on these tests; without it each run has its own, which is gone when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness import assets, built
from harness.built import ProgramMissing, say
from harness.chart import ROOT, helm
from harness.images import CLUSTER, Images, for_cluster
from harness.processes import free_port, wait_until

KIND = built.Program("kind", "sigs.k8s.io/kind", ROOT / "tests/kind/program", "30 s")
KEPT = "GITPULSE_TEST_KIND"
TRANSCRIPT = "GITPULSE_TEST_TRANSCRIPT"
"""Names a file for what was typed and answered."""


@dataclass
class Kind:
    """The cluster, and what was done to it as somebody would have done it by hand."""

    kubeconfig: Path
    images: Images
    transcript: list[str] = field(default_factory=list)

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Raises AssertionError with what kubectl complained of."""
        return self._run("kubectl", assets.kubectl(), *arguments, stdin=stdin)

    def helm(self, *arguments: str | Path) -> str:
        """Raises AssertionError with what Helm complained of."""
        return self._run("helm", helm(), *arguments)

    def read(self, *arguments: str | Path) -> Any:
        """What kubectl answers as JSON; it is no part of the transcript, for it is asked again and again."""
        return json.loads(self._done(assets.kubectl(), *arguments, "-o", "json").stdout)

    def told(self, namespace: str) -> str:
        """What somebody would look at who finds that something is not as it should be."""
        shown = self.kubectl("-n", namespace, "get", "pods,events")
        for pod in self.kubectl("-n", namespace, "get", "pods", "-o", "name").split():
            shown += f"--- {pod}\n" + self._done(assets.kubectl(), "-n", namespace, "logs", pod, "--tail=20").stdout
        return shown

    def _run(self, name: str, program: str | Path, *arguments: str | Path, stdin: str | None = None) -> str:
        started, typed = time.monotonic(), " ".join(map(str, (name, *arguments)))
        done = self._done(program, *arguments, stdin=stdin)
        self.transcript.append(f"$ {typed}   # {time.monotonic() - started:.1f} s\n{done.stdout}{done.stderr}")
        if done.returncode:
            raise AssertionError(f"{typed}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def _done(
        self, program: str | Path, *arguments: str | Path, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)}
        return subprocess.run(
            [program, *arguments], check=False, input=stdin, capture_output=True, text=True, env=environment
        )

    @contextlib.contextmanager
    def forward(self, namespace: str, target: str, port: int) -> Iterator[str]:
        """The base URL by which this machine reaches a port of a pod, until the block ends."""
        here = free_port()
        command = [
            "kubectl",
            "--kubeconfig",
            self.kubeconfig,
            "-n",
            namespace,
            "port-forward",
            target,
            f"{here}:{port}",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline().startswith("Forwarding from"), process.stdout.read()
                yield f"http://127.0.0.1:{here}"
            finally:
                process.terminate()

    def namespace(self, name: str, **labels: str) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))  # fmt: skip

    def values(self, **more: Any) -> Mapping[str, Any]:
        """Chart values with which every image is one that the node has."""
        return {
            "redis": {"bundled": {"image": self.images.redis}},
            "database": {"bundled": {"image": self.images.database}},
            **more,
        }


@contextlib.contextmanager
def cluster() -> Iterator[Kind]:
    """Raises ProgramMissing where there is no Docker, or no kind."""
    images = for_cluster()
    name = os.environ.get(KEPT) or f"gitpulse-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "kubeconfig")
        try:
            if name not in _kind("get", "clusters").split():
                _create(name, kubeconfig)
            _kind("export", "kubeconfig", "--name", name, "--kubeconfig", kubeconfig)
            _kind("load", "docker-image", "--name", name, *sorted(set(images)))
            yield (kind := Kind(kubeconfig, images))
            if told := os.environ.get(TRANSCRIPT):
                Path(told).write_text("\n".join(kind.transcript))
        finally:
            if not os.environ.get(KEPT):
                _kind("delete", "cluster", "--name", name, "--kubeconfig", kubeconfig)


def _create(name: str, kubeconfig: Path) -> None:
    say(f"Making the cluster {name}")
    node = ["--image", image] if (image := os.environ.get("KIND_NODE_IMAGE")) else []
    arguments = ["--name", name, "--config", CLUSTER / "kind.yaml", "--kubeconfig", kubeconfig, "--wait", "180s"]
    _kind("create", "cluster", *arguments, *node)


def _kind(*arguments: str | Path) -> str:
    done = subprocess.run([KIND.provide(), *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise ProgramMissing(f"kind {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout


def eventually(condition: Any, what: str, within: float = 60) -> Any:
    """Polls; what the condition raises meanwhile is not yet an answer."""

    def tried() -> Any:
        with contextlib.suppress(OSError):
            return condition()

    return wait_until(tried, timeout=within, what=what)


def _provide() -> None:
    KIND.provide()
    for_cluster()


if __name__ == "__main__":
    built.main(_provide, "There is no cluster to test the chart on: {}")
