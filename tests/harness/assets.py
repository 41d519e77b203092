"""Where kube-apiserver, etcd and kubectl come from: found, downloaded, or built once and kept in the user's cache.

It knows how to get the programs; how to run them is `harness.controlplane`'s matter. In this order:

1. `KUBEBUILDER_ASSETS`, the folder that Kubernetes' own test tools use;
2. the envtest archive that the Kubernetes project publishes, pinned by checksum;
3. a build from the published Go modules that `tests/controlplane/*/go.mod` pin, about five minutes on two cores.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from harness import built
from harness.built import ProgramMissing, say
from harness.processes import SCRIPTS

MODULES = Path(__file__).parent.parent / "controlplane"
CACHE = built.CACHE / "controlplane"

ENVTEST = "v1.37.0"
ENVTEST_URL = "https://github.com/kubernetes-sigs/controller-tools/releases/download/envtest-{0}/envtest-{0}-{1}.tar.gz"
# From envtest-releases.yaml of kubernetes-sigs/controller-tools.
ENVTEST_SHA512 = {
    "linux-amd64": (
        "1d1c453633b72c161a5d5a886cde7ac850be1a2ac796a9e1d4ffacacc6486829"
        "5bdd2d57aa66cd0c158f5ce510f5dfe3fbc61ac21bd3dcfb875bd70658aa663a"
    ),
    "linux-arm64": (
        "ae6a670502988200b0131c943758cfd3d3a58cf4e6247ef7f0e6a6467f1cd9a3"
        "33c802e86101f0446b1b92a0e327387224e1e44fe1a4693da0929c6e529cfe9a"
    ),
    "darwin-amd64": (
        "19a2a5376a8aa57a7b25ec5198834db29bf2ba0d6ff572d7f45ba683b13fb14c"
        "3ebec8069e92db66c39f1c7a9cff1bc2be879e2aacdc9fa8b8a7e861959bdf7b"
    ),
    "darwin-arm64": (
        "fb38cfacdd71b5e97a4d4cceac861af5f55069cf783f0e49cf181bfc32eb3e55"
        "7c2091a534dc5d38f1b92c5ba142bc1979f215a5385b3630ea6a661be6fa161b"
    ),
}


@dataclass(frozen=True)
class Assets:
    """The programs of a control plane."""

    kube_apiserver: Path
    etcd: Path
    kubectl: Path


def find() -> Assets | None:
    """What is there already: in `KUBEBUILDER_ASSETS`, or in the cache. Raises ProgramMissing for a wrong variable."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        if assets := _assets(Path(given)):
            return assets
        raise ProgramMissing(
            f"KUBEBUILDER_ASSETS={given} does not hold kube-apiserver and etcd; correct it, or unset it and the tests "
            "get them by themselves"
        )
    return _assets(CACHE / _archive_name()) or _assets(CACHE / _build_name())


def provide() -> Assets:
    """Finds the programs, or gets them, telling on standard error what goes on. Raises ProgramMissing."""
    if found := find():
        return found
    with built.locked(CACHE, "the Kubernetes API server"):
        return find() or _download() or _build()


def kubectl(folder: Path | None = None) -> Path:
    """The kubectl in this folder, else the machine's, else the one that PyPI has brought."""
    if folder and (beside := folder / "kubectl").is_file():
        return beside
    return Path(shutil.which("kubectl") or SCRIPTS / "kubectl")


def _assets(folder: Path) -> Assets | None:
    server, etcd = folder / "kube-apiserver", folder / "etcd"
    if not (server.is_file() and etcd.is_file()):
        return None
    return Assets(server, etcd, kubectl(folder))


def _platform() -> str:
    machine = platform.machine().lower()
    return f"{sys.platform}-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def _archive_name() -> str:
    return f"envtest-{ENVTEST}-{_platform()}"


def _build_name() -> str:
    digest = hashlib.sha256(_platform().encode())
    for file in sorted(MODULES.glob("*/go.*")):
        digest.update(file.read_bytes())
    return f"built-{digest.hexdigest()[:16]}"


# --- downloading -----------------------------------------------------------------------------------------------------


def _download() -> Assets | None:
    """The published archive; None where it cannot be reached, or none is published for this machine."""
    expected = ENVTEST_SHA512.get(_platform())
    if expected is None:
        return None
    url = ENVTEST_URL.format(ENVTEST, _platform())
    with tempfile.TemporaryFile() as archive:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                say(f"Downloading kube-apiserver and etcd {ENVTEST} (about 100 MB, once)")
                shutil.copyfileobj(response, archive)
        except OSError as error:
            reason = getattr(error, "reason", error)
            host = url.split("/")[2]
            say(f"No ready-made kube-apiserver from {host} ({reason}): it is built here instead, which takes longer")
            return None
        archive.seek(0)
        if hashlib.file_digest(archive, "sha512").hexdigest() != expected:
            raise ProgramMissing(f"{url} is not the archive that is pinned here: its SHA-512 differs; nothing was kept")
        archive.seek(0)
        with built.published(CACHE, _archive_name()) as folder, tarfile.open(fileobj=archive) as tar:
            for member in tar:
                if member.isfile():
                    member.name = Path(member.name).name
                    tar.extract(member, folder, filter="data")
    return _assets(CACHE / _archive_name())


# --- building --------------------------------------------------------------------------------------------------------


def _build() -> Assets:
    started = time.monotonic()
    required = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)", (MODULES / "kubernetes/go.mod").read_text())
    assert required, "go.mod pins k8s.io/kubernetes"
    version = "k8s.io/component-base/version"
    stamp = f"-X {version}.gitVersion=v{'.'.join(required.groups())} -X {version}.gitMajor={required[1]}"
    with built.published(CACHE, _build_name()) as folder, built.toolchain(CACHE) as go:
        say("Building kube-apiserver and etcd from their Go modules (about 5 min on 2 cores, once)")
        go.build(MODULES / "etcd", "go.etcd.io/etcd/server/v3", folder / "etcd", "-s -w")
        go.build(
            MODULES / "kubernetes",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            folder / "kube-apiserver",
            f"-s -w {stamp} -X {version}.gitMinor={required[2]}",
        )
    say(f"Built in {time.monotonic() - started:.0f} s, kept in {CACHE}")
    found = _assets(CACHE / _build_name())
    assert found, "what was just published is there"
    return found
