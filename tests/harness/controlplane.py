"""A real Kubernetes API server for tests: kube-apiserver and etcd on loopback, RBAC on, gone when the run ends.

There are no controllers and no nodes: nothing is garbage-collected, no namespace is ever gone, no pod runs. With
`GITPULSE_TEST_KUBECONFIG` the tests use that cluster instead. `python -m harness.controlplane` gets the programs
beforehand, with progress; so does the first test that asks for them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from harness import assets, built, pki
from harness.processes import free_port, running, wait_until

ROOT = Path(__file__).parent.parent.parent
CRDS = ROOT / "crds"
KUBECONFIG = "GITPULSE_TEST_KUBECONFIG"

AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}
"""Who asked for what, of those that we test: no bodies."""

# A crash of the test run must leave no server behind: the kernel ends the child when its parent is gone (Linux only).
_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


class Servers:
    """kube-apiserver and its etcd; the former may be away for a while."""

    def __init__(self, etcd_url: str, url: str, authority: Path, start: Callable[[], Any]) -> None:
        self.etcd_url, self.url, self.authority = etcd_url, url, authority
        self._start = start
        self._process = contextlib.ExitStack()

    def start(self) -> None:
        self._process.enter_context(self._start())

    def kill(self) -> None:
        """Ends kube-apiserver at once, as a crash would."""
        self._process.close()

    def etcd(self, path: str, **fields: object) -> dict[str, Any]:
        """Asks etcd's gateway, for example `kv/compaction`."""
        request = urllib.request.Request(f"{self.etcd_url}/v3/{path}", data=json.dumps(fields).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@dataclass(frozen=True)
class ControlPlane:
    """A running API server, seen with an administrator's eyes."""

    kubeconfig: Path
    kubectl_program: Path
    folder: Path
    namespaces: list[str] = field(default_factory=list)
    """What `namespace` has made."""
    servers: Servers | None = None
    """The programs behind it, where this run has started them."""

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Runs the real kubectl and returns its standard output. Raises AssertionError with what it complained of."""
        done = self.try_kubectl(*arguments, stdin=stdin, kubeconfig=kubeconfig)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def try_kubectl(
        self, *arguments: str | Path, stdin: str | None = None, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same, for a command that may be refused."""
        return subprocess.run(
            [self.kubectl_program, "--kubeconfig", kubeconfig or self.kubeconfig, *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            # A home of its own: kubectl caches what the server offers, and a preference file may change its output.
            env={**os.environ, "HOME": str(self.folder), "KUBECACHEDIR": str(self.folder / "kubectl")},
        )

    def api(self, kubeconfig: Path | None = None) -> client.ApiClient:
        """The Python client in this process, for many requests in little time."""
        made: client.ApiClient = config.new_client_from_config(str(kubeconfig or self.kubeconfig))  # type: ignore[no-untyped-call]
        return made

    def apply(self, *resources: Path | Mapping[str, Any], namespace: str = "default") -> None:
        """Applies files, folders and plain objects with kubectl, server-side."""
        for path in (r for r in resources if isinstance(r, Path)):
            self.kubectl("apply", "--server-side", "-n", namespace, "-f", path)
        if objects := [r for r in resources if not isinstance(r, Path)]:
            self.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(objects))

    def namespace(self, prefix: str = "test") -> str:
        """A fresh namespace."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        self.namespaces.append(name)
        return name

    def install_crds(self) -> None:
        """Installs our kinds, and waits until they are served."""
        self.apply(CRDS)
        self.kubectl("wait", "--for=condition=Established", "--timeout=20s", "-f", CRDS)
        wait_until(self._kinds_are_known, what="our kinds in what the server offers")

    def install_others(self, crds: Mapping[str, Path]) -> list[str]:
        """Installs those, by name, that are not there yet, and waits until they are served. Returns their names."""
        there = self.kubectl("get", "crds", "-o", "jsonpath={.items[*].metadata.name}").split()
        missing = [name for name in crds if name not in there]
        if missing:
            # Not `apply`: it would keep a copy in an annotation, which may not be that long.
            self.kubectl("create", *(argument for name in missing for argument in ("-f", crds[name])))
            self.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crds", *missing)
            wait_until(lambda: self._are_known(",".join(missing)), what="the kinds of others in what the server offers")
        return missing

    def _kinds_are_known(self) -> bool:
        return self._are_known("gitpulse")

    def _are_known(self, kinds: str) -> bool:
        # kubectl remembers for hours what a server offers, and asks again for a kind it misses, not for a category.
        shutil.rmtree(self.folder / "kubectl", ignore_errors=True)
        return self.try_kubectl("get", kinds, "-A").returncode == 0

    def kubeconfig_for(self, service_account: str, namespace: str, *rbac: Path | Mapping[str, Any]) -> Path:
        """A kubeconfig with a token of this ServiceAccount, which may do what the RBAC manifests allow, and no more."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": service_account}}
        self.apply(account, *rbac, namespace=namespace)
        token = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=2h").strip()
        admin = yaml.safe_load(self.kubeconfig.read_text())
        current = next(c["context"] for c in admin["contexts"] if c["name"] == admin["current-context"])
        cluster = next(c["cluster"] for c in admin["clusters"] if c["name"] == current["cluster"])
        path = self.folder / f"{namespace}-{service_account}.kubeconfig"
        return _write_kubeconfig(path, cluster, {"token": token}, namespace)


@contextlib.contextmanager
def control_plane_server(programs: assets.Assets, folder: Path) -> Iterator[ControlPlane]:
    """Starts etcd and kube-apiserver with their files in `folder`, and stops both."""
    etcd_url = f"http://127.0.0.1:{free_port()}"
    etcd: list[str | Path] = [programs.etcd, "--data-dir", folder / "etcd", "--unsafe-no-fsync", "--log-level=warn"]
    etcd += ["--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url]
    etcd += ["--listen-peer-urls", "http://127.0.0.1:0"]
    authority = pki.Authority(folder)
    serving, admin = authority.server("kube-apiserver"), authority.client("admin", "system:masters")
    accounts = pki.signing_key(folder / "accounts.key")
    port = free_port()
    server: list[str | Path] = [programs.kube_apiserver, f"--etcd-servers={etcd_url}", f"--secure-port={port}"]
    server += ["--bind-address=127.0.0.1", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"]
    server += [f"--client-ca-file={authority.certificate}", f"--cert-dir={folder}"]
    server += [f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"]
    server += [f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}"]
    server += ["--service-account-issuer=https://kubernetes.default.svc", "--endpoint-reconciler-type=none"]
    # Nobody makes the `default` ServiceAccount, which this plugin would wait for.
    server += ["--disable-admission-plugins=ServiceAccount"]
    policy = folder / "audit.yaml"
    policy.write_text(json.dumps(AUDIT))
    server += [f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}"]

    trust = ssl.create_default_context(cafile=str(authority.certificate))
    trust.load_cert_chain(admin.certificate, admin.key)

    def ready() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=trust, timeout=2).close()
            return True
        return False

    def etcd_ready() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{etcd_url}/health", timeout=2).close()
            return True
        return False

    user = {"client-certificate": str(admin.certificate), "client-key": str(admin.key)}
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.certificate)}
    kubeconfig = _write_kubeconfig(folder / "admin.kubeconfig", cluster, user, "default")
    log = folder / "kube-apiserver.log"
    start = partial(running, _with_parent(server), log=log, ready=ready, timeout=60, grace=0)
    servers = Servers(etcd_url, cluster["server"], authority.certificate, start)
    with running(_with_parent(etcd), log=folder / "etcd.log", ready=etcd_ready, grace=0):
        try:
            servers.start()
            yield ControlPlane(kubeconfig, programs.kubectl, folder, servers=servers)
        finally:
            servers.kill()


def _with_parent(argv: Sequence[str | Path]) -> list[str | Path]:
    return [sys.executable, "-I", "-S", "-c", _WITH_PARENT, *argv] if sys.platform == "linux" else list(argv)


def _write_kubeconfig(path: Path, cluster: Mapping[str, str], user: Mapping[str, str], namespace: str) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": dict(cluster)}],
        "users": [{"name": "tests", "user": dict(user)}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
        "current-context": "tests",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content))
    return path


# --- the fixtures ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The session's API server, with our kinds installed."""
    folder = tmp_path_factory.mktemp("controlplane")
    with contextlib.ExitStack() as stack:
        if given := os.environ.get(KUBECONFIG):
            plane = ControlPlane(Path(given).absolute(), assets.kubectl(), folder)
        else:
            plane = stack.enter_context(control_plane_server(_programs(pytestconfig), folder))
        plane.install_crds()
        yield plane
        if given and plane.namespaces:
            plane.kubectl("delete", "namespace", "--wait=false", *plane.namespaces)


@pytest.fixture(scope="module")
def own_control_plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One that a module may do harm to."""
    with control_plane_server(_programs(pytestconfig), tmp_path_factory.mktemp("controlplane")) as plane:
        plane.install_crds()
        yield plane


def _programs(pytestconfig: pytest.Config) -> assets.Assets:
    """The programs, got in a process of its own: this one may neither reach the network nor print to the terminal."""
    try:
        if not (found := assets.find()):
            capture = pytestconfig.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
                subprocess.run([sys.executable, "-m", __name__], cwd=ROOT / "tests", check=False)
            found = assets.find()
    except built.ProgramMissing as error:
        return _give_up(str(error))
    return found or _give_up("no kube-apiserver: run `PYTHONPATH=tests python -m harness.controlplane` to see why")


def _give_up(message: str) -> assets.Assets:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


if __name__ == "__main__":
    if not os.environ.get(KUBECONFIG):
        built.main(
            assets.provide,
            "There is no Kubernetes API server to test against: {}\n"
            "To get one, set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd (setup-envtest makes one), or "
            f"{KUBECONFIG} to the kubeconfig of a cluster for tests.",
        )
