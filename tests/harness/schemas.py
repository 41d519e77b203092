"""The kinds of others that our examples and our chart make: their CRDs, as their projects make them.

Each project publishes its types as a Go module, and generates its CRDs from these with controller-gen. So do we, once,
from the modules that `tests/gitops/schemas/*/go.mod` pin, and keep them in the user's cache: `python -m
harness.schemas` gets them beforehand, with progress.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import built
from harness.controlplane import KUBECONFIG, ControlPlane

MODULES = Path(__file__).parent.parent / "gitops/schemas"
CACHE = built.CACHE / "schemas"
GENERATOR = "sigs.k8s.io/controller-tools/cmd/controller-gen"

KINDS = (
    "argoproj.io_applications",
    "cert-manager.io_certificates",
    "external-secrets.io_externalsecrets",
    "gateway.networking.k8s.io_httproutes",
    "helm.toolkit.fluxcd.io_helmreleases",
    "kustomize.toolkit.fluxcd.io_kustomizations",
    "monitoring.coreos.com_alertmanagerconfigs",
    "monitoring.coreos.com_podmonitors",
    "monitoring.coreos.com_prometheuses",
    "monitoring.coreos.com_prometheusrules",
    "monitoring.coreos.com_servicemonitors",
    "postgresql.cnpg.io_clusters",
    "source.toolkit.fluxcd.io_ocirepositories",
)
"""What is kept of all that the packages have, by the names that controller-gen gives."""

APPROVED = "api-approved.kubernetes.io: https://github.com/kubernetes-sigs/gateway-api"
"""Without it, no server takes a kind of a group of Kubernetes' own; Gateway API's generator adds it likewise."""


def find() -> dict[str, Path] | None:
    """The files by the names of the CRDs, if they are there."""
    parts = {kind: kind.partition("_") for kind in KINDS}
    files = {f"{plural}.{group}": CACHE / _name() / f"{kind}.yaml" for kind, (group, _, plural) in parts.items()}
    return files if all(file.is_file() for file in files.values()) else None


def provide() -> dict[str, Path]:
    """Finds the files or generates them, telling on standard error what goes on. Raises ProgramMissing."""
    if found := find():
        return found
    with built.locked(CACHE, "the CRDs of others"):
        if found := find():
            return found
        started = time.monotonic()
        with built.published(CACHE, _name()) as folder, built.toolchain(CACHE) as go:
            built.say("Generating the CRDs of others from their Go modules (about 2 min on 2 cores, once)")
            generator = folder / "controller-gen"
            go.build(MODULES / "others", GENERATOR, generator, "-s -w")
            for module in sorted(MODULES.iterdir()):
                go.run(module, f"types of {module.name}", "list", "-deps", ".")
                _generate(go, generator, module, folder)
            generator.unlink()
            _keep_what_is_needed(folder)
        built.say(f"Generated in {time.monotonic() - started:.0f} s, kept in {CACHE}")
    found = find()
    assert found, "what was just published is there"
    return found


def _generate(go: built.Toolchain, generator: Path, module: Path, folder: Path) -> None:
    packages = re.findall(r'_ "(.+)"', (module / "schemas.go").read_text())
    options = "crd:maxDescLen=0,allowDangerousTypes=true"  # some projects have numbers with a fraction
    command = [generator, options, f"paths={{{','.join(packages)}}}", f"output:crd:dir={folder}"]
    done = subprocess.run(command, cwd=module, env=go.environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise built.ProgramMissing(f"no CRDs of {module.name}:\n{done.stderr[-2000:]}")


def _keep_what_is_needed(folder: Path) -> None:
    for file in folder.iterdir():
        if file.stem not in KINDS:
            file.unlink()
        elif ".k8s.io_" in file.name:
            head, annotations, rest = file.read_text().partition("  annotations:\n")
            file.write_text(f"{head}{annotations}    {APPROVED}\n{rest}")
    if missing := sorted({f"{kind}.yaml" for kind in KINDS} - {file.name for file in folder.iterdir()}):
        raise built.ProgramMissing(f"the modules have no types for {', '.join(missing)}")


def _name() -> str:
    digest = hashlib.sha256("".join(KINDS).encode())
    for file in sorted(MODULES.glob("*/*")):
        digest.update(file.read_bytes())
    return f"generated-{digest.hexdigest()[:16]}"


@pytest.fixture(scope="session")
def others(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The session's API server, which knows the kinds of others too."""
    if not (crds := find()):
        message = "no CRDs of others: run `PYTHONPATH=tests python -m harness.schemas`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    made = control_plane.install_others(crds)
    yield control_plane
    if os.environ.get(KUBECONFIG) and made:
        control_plane.kubectl("delete", "crds", *made)


if __name__ == "__main__":
    built.main(provide, "There are no CRDs to hold the examples for GitOps against: {}")
