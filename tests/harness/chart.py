"""The chart as the real Helm renders it.

Helm is the machine's, or built once from the Go module that `tests/chart/helm/go.mod` pins, and kept in the user's
cache: `python -m harness.chart` gets it beforehand, with progress.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import built

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts/gitpulse"
PREVIOUS = ROOT / "tests/chart/previous/gitpulse-0.0.1.tgz"
"""The chart as it first stood in the repository: what upgrades are tested from."""
HELM = built.Program("helm", "helm.sh/helm/v4/cmd/helm", ROOT / "tests/chart/helm", "2 min")

Resource = dict[str, Any]


class Refused(Exception):
    """Helm refused the values; the text is what it says to the user."""


def render(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "gitpulse",
    namespace: str = "gitpulse-system",
    kube_version: str = "1.37",
    arguments: tuple[str, ...] = (),
) -> list[Resource]:
    """All resources of a first install with these values. Raises Refused."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        command = [
            "template",
            release,
            CHART,
            "-n",
            namespace,
            "-f",
            file.name,
            "--kube-version",
            kube_version,
            *arguments,
        ]
        done = subprocess.run([helm(), *command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return [it for it in yaml.safe_load_all(done.stdout) if it]


def alert_rules(**alerts: Any) -> dict[str, Any]:
    """The rule file in the ConfigMap, with these values below `alerts`. Raises Refused."""
    made = render({"alerts": {"configMap": {"enabled": True}, **alerts}})
    rules: dict[str, Any] = yaml.safe_load(only(made, "ConfigMap", "gitpulse-alerts")["data"]["gitpulse-alerts.yaml"])
    return rules


def lint() -> str:
    """What Helm's own linter says. Raises Refused."""
    done = subprocess.run([helm(), "lint", "--strict", CHART], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def only(resources: list[Resource], kind: str, name: str | None = None) -> Resource:
    """The one of this kind and, if given, name."""
    found = [it for it in resources if it["kind"] == kind and name in (None, it["metadata"]["name"])]
    assert len(found) == 1, [f"{it['kind']}/{it['metadata']['name']}" for it in resources]
    return found[0]


@cache
def helm() -> Path:
    """The program. Without it a test fails in CI and is skipped elsewhere."""
    if found := HELM.find():
        return found
    message = "no Helm: put it on the PATH, or run `PYTHONPATH=tests python -m harness.chart`"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


if __name__ == "__main__":
    built.main(HELM.provide, "There is no Helm to test the chart with: {}")
