"""How the operator starts, and how it says that it cannot: one line, no traceback."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import SettingsError
from harness.processes import SCRIPTS, free_port

RIGHT = {
    "GITPULSE_INSTALLATION_KEY": base64.b64encode(bytes(range(32))).decode(),
    "GITPULSE_PUBLIC_URL": "https://gitpulse.example.com",
    "GITPULSE_METRICS_PORT": "0",
}
KOPF = ("kopf", "run", "-m", "gitpulse_operator.main", "-A", "--standalone")
GITPULSE = ("gitpulse", "operator", "--metrics-port", "0")


def start(argv: tuple[str, ...], environment: dict[str, str], home: Path) -> tuple[int, str]:
    """Exit code and all output."""
    program, *arguments = argv
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GITPULSE_", "KUBE"))}
    done = subprocess.run(
        [SCRIPTS / program, *arguments],
        env={**clean, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"GITPULSE_PUBLIC_URL": None}, "GITPULSE_PUBLIC_URL: is not set"),
        ({"GITPULSE_PUBLIC_URL": "gitpulse.example.com"}, "GITPULSE_PUBLIC_URL: must start with http:// or https://"),
        ({"GITPULSE_PUBLIC_URL": "https://x.example/?a"}, "GITPULSE_PUBLIC_URL: must have no query"),
        ({"GITPULSE_PUBLIC_URL": "https://me:pw@x.example"}, "GITPULSE_PUBLIC_URL: must hold no user name"),
        ({"GITPULSE_INSTALLATION_KEY": None}, "GITPULSE_INSTALLATION_KEY: is not set"),
        ({"GITPULSE_RESYNC_INTERVAL": "soon"}, "GITPULSE_RESYNC_INTERVAL: "),
        ({"GITPULSE_WORKERS": "0"}, "GITPULSE_WORKERS: "),
    ],
)
def test_a_wrong_setting_is_one_line(monkeypatch, change, says):
    for name, value in {**RIGHT, **change}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        OperatorSettings.load()
    assert str(caught.value).startswith(says)
    assert len(str(caught.value).splitlines()) == 1


def test_settings_are_read_and_hide_the_key(monkeypatch):
    for name, value in {**RIGHT, "GITPULSE_WATCH_NAMESPACES": "a, b,"}.items():
        monkeypatch.setenv(name, value)
    settings = OperatorSettings.load()
    assert settings.namespaces == ("a", "b")
    assert settings.public_url == "https://gitpulse.example.com"
    assert "installation_key" not in repr(settings)


@pytest.mark.parametrize("argv", [KOPF, GITPULSE])
def test_a_wrong_setting_ends_with_2(argv, tmp_path):
    code, output = start(argv, {**RIGHT, "GITPULSE_PUBLIC_URL": "nowhere"}, tmp_path)
    assert code == 2
    assert "GITPULSE_PUBLIC_URL: must start with http:// or https://" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("argv", [KOPF, GITPULSE])
def test_without_kubernetes_it_ends_with_1_and_one_line(argv, tmp_path):
    code, output = start(argv, {**RIGHT, "KUBECONFIG": "/nowhere/config"}, tmp_path)
    assert code == 1
    assert output.count("\n") == 0
    assert "there is no kubeconfig /nowhere/config; set KUBECONFIG" in output


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("GITPULSE_METRICS_PORT", "cannot serve metrics on port"),
        ("GITPULSE_LIVENESS_PORT", "cannot answer probes on port"),
    ],
)
def test_a_port_in_use_ends_with_1_and_one_line(tmp_path, variable, says):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, output = start(KOPF, {**RIGHT, variable: port}, tmp_path)
    assert code == 1
    assert output.count("\n") == 0
    assert f"{says} {port}" in output


def test_without_redis_it_tries_for_a_while_and_ends_with_1(tmp_path):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: t, contexts: [{name: t, context: {cluster: t, user: t}}], "
        "clusters: [{name: t, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: t, user: {token: x}}]}"
    )
    redis = {"KUBECONFIG": str(kubeconfig), "GITPULSE_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    # the same program, with shorter pauses between its tries
    shorter = (
        "import kopf.cli, gitpulse_operator.handlers.lifecycle as l; l.START_RETRIES = (0.1, 0.1); kopf.cli.main()"
    )
    code, output = start((sys.executable, "-c", shorter, *KOPF[1:]), {**RIGHT, **redis}, tmp_path)
    assert code == 1
    lines = output.splitlines()
    assert all("Redis does not answer" in line for line in lines)
    assert "the operator cannot start" in lines[-1]
    assert len(lines) == 3
