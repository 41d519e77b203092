"""The operator's bench on the outside: many objects, the program itself, and what the API server and it count."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes import client

from harness.controlplane import ControlPlane
from harness.processes import SCRIPTS, answers, free_port, running

Object = dict[str, Any]

GROUP, VERSION = "gitpulse.io", "v1alpha1"
WRITES = re.compile(
    r'^apiserver_request_total\{(?=.*verb="(?:POST|PUT|PATCH|APPLY|DELETE)").*[,{]resource="(\w+)".* (\S+)$',
    re.MULTILINE,
)


@dataclass
class Program:
    """A running operator."""

    pid: int
    metrics_port: int

    def most_memory(self) -> float:
        """MiB that it held at most, so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line)

    def processor(self) -> float:
        """Seconds of processor time that it has used."""
        return sum(map(int, Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / 100

    def count(self, metric: str, label: str = "") -> float:
        """The sum of a metric's samples, of those whose labels hold this text."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{metric}[{{ ]", line) and label in line
        )


@contextmanager
def program(folder: Path, *arguments: str | Path, **environment: str) -> Iterator[Program]:
    """`kopf run` with these arguments, in a process of its own, until the block ends."""
    port, metrics = free_port(), free_port()
    argv = [SCRIPTS / "kopf", "run", *arguments, "--standalone", f"--liveness=http://127.0.0.1:{port}/healthz"]
    environment |= {"GITPULSE_METRICS_PORT": str(metrics)}
    with running(
        argv, log=folder / "operator.log", ready=lambda: answers(port), env=environment, timeout=90
    ) as process:
        yield Program(process.pid, metrics)


def create(plane: ControlPlane, plural: str, objects: Iterable[Object]) -> None:
    """Creates many objects, a few at a time."""
    custom = client.CustomObjectsApi(plane.api())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda o: custom.create_namespaced_custom_object(GROUP, VERSION, "default", plural, o), objects))


def patching(plane: ControlPlane, plural: str) -> Callable[[str, Object], object]:
    """What patches an object by its name; kubectl would take a core's time for itself."""
    custom = client.CustomObjectsApi(plane.api())
    kind = "application/merge-patch+json"
    return partial(custom.patch_namespaced_custom_object, GROUP, VERSION, "default", plural, _content_type=kind)


def writes(plane: ControlPlane, *resources: str) -> float:
    """Requests that change objects of these kinds, as the API server counts them."""
    found = WRITES.findall(plane.kubectl("get", "--raw", "/metrics"))
    return sum(float(count) for resource, count in found if resource in resources)


def settled(count: Callable[[], float], at_least: float) -> float:
    """Waits until a count has come so far and does not move any more. Returns how many seconds it took to get there."""
    began, last, since = time.monotonic(), -1.0, 0.0
    while last < at_least or time.monotonic() - since < 3:
        if (now := count()) != last:
            last, since = now, time.monotonic()
        assert time.monotonic() - since < 600, f"stuck at {last:g} of {at_least:g}"
        time.sleep(0.5)
    return since - began
