"""How the API server's programs are got, and that none of them outlives a test run."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import assets, built
from harness.controlplane import ROOT, _with_parent
from harness.processes import wait_until


def archive_of(*names: str) -> bytes:
    """A published archive, with programs that say their name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(f"controller-tools/envtest/{name}")
            member.size, member.mode = len(name), 0o755
            tar.addfile(member, io.BytesIO(name.encode()))
    return packed.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing else to find."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setattr(assets, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A server with an archive where the published one would be."""
    archive = archive_of("etcd", "kube-apiserver", "kubectl")
    (tmp_path / "archive.tar.gz").write_bytes(archive)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(assets, "ENVTEST_URL", f"http://127.0.0.1:{server.server_port}/archive.tar.gz")
        yield archive
        server.shutdown()


def test_a_given_folder_is_used(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert assets.provide() == assets.Assets(tmp_path / "kube-apiserver", tmp_path / "etcd", assets.kubectl())
    assert not cache.exists()


def test_a_wrong_folder_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(built.ProgramMissing, match=f"KUBEBUILDER_ASSETS={tmp_path} does not hold"):
        assets.provide()


def test_the_published_archive_is_kept(cache: Path, published: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = hashlib.sha512(published).hexdigest()
    monkeypatch.setattr(assets, "ENVTEST_SHA512", {assets._platform(): checksum})
    assert assets.find() is None
    got = assets.provide()
    assert (got.etcd.read_text(), os.access(got.kube_apiserver, os.X_OK)) == ("etcd", True)
    assert got.kubectl == got.etcd.with_name("kubectl")
    assert assets.find() == got
    assert sorted(p.name for p in cache.iterdir()) == [assets._archive_name(), "lock"]


def test_an_archive_with_another_checksum_is_refused(cache: Path, published: bytes) -> None:
    with pytest.raises(built.ProgramMissing, match="SHA-512 differs"):
        assets.provide()
    assert [p.name for p in cache.iterdir()] == ["lock"]


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_where_nothing_can_be_had_it_says_what_to_do(tmp_path: Path, ci: str, code: int) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "CI": ci}
    done = subprocess.run(
        [sys.executable, "-m", "harness.controlplane"],
        cwd=ROOT / "tests",
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), **nowhere},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert "it is built here instead" in done.stderr
    assert "There is no Kubernetes API server to test against: Go 1.26.1 is needed" in done.stderr
    assert "set KUBEBUILDER_ASSETS to a folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a program to its parent's life")
def test_a_killed_run_leaves_no_server_behind() -> None:
    start = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", start, *map(str, _with_parent(["/bin/sleep", "600"]))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        command = Path(f"/proc/{int(run.stdout.readline())}/cmdline")
        wait_until(lambda: command.read_bytes().startswith(b"/bin/sleep"), what="the server to start")
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not command.exists() or not command.read_bytes(), what="the server to end")
