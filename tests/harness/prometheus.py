"""A real Prometheus, which reads what it is told to on loopback, and says what it knows and which alerts fire."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from harness.front import program
from harness.processes import free_port, running


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    url: str

    def ask(self, expr: str) -> dict[str, Any]:
        """Its answer to an instant query, errors included."""
        answer: dict[str, Any] = requests.post(f"{self.url}/api/v1/query", data={"query": expr}, timeout=10).json()
        return answer

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = requests.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def is_ready(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        return False


@contextlib.contextmanager
def prometheus_server(
    folder: Path, targets: Sequence[Mapping[str, Any]], *, every: str, rules: Mapping[str, Any] | None = None
) -> Iterator[Prometheus]:
    """Starts one that reads these targets (as in `static_configs`) and goes through the rules so often."""
    times = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    config: dict[str, Any] = {
        "global": times,
        "scrape_configs": [{"job_name": "gitpulse", "static_configs": [dict(it) for it in targets]}],
    }
    if rules:
        (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
        config["rule_files"] = ["rules.yaml"]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    settings = {
        "config.file": folder / "prometheus.yaml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{(port := free_port())}",
    }
    server = Prometheus(f"http://127.0.0.1:{port}")
    argv = [program("prometheus"), *(f"--{name}={value}" for name, value in settings.items())]
    with running(argv, log=folder / "log", ready=server.is_ready, grace=0):
        yield server
