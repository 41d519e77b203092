"""What a person gets wrong at the start: one line that says what to do, an exit code, and never a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import SCRIPTS, free_port

GITPULSE = (sys.executable, "-m", "gitpulse_cli")
KEY = "A" * 43 + "="


def run(argv, tmp_path, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GITPULSE_", "GITLAB_", "KUBECONFIG"))}
    return subprocess.run(
        [str(a) for a in argv], cwd=tmp_path, env={**clean, "HOME": str(tmp_path), **environment}, check=False,
        capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param((*GITPULSE, "receiver"), id="gitpulse receiver"),
        pytest.param((*GITPULSE, "worker"), id="gitpulse worker"),
        pytest.param((*GITPULSE, "operator"), id="gitpulse operator"),
        pytest.param((SCRIPTS / "uvicorn", "gitpulse_service.receiver.app:create_app", "--factory"), id="uvicorn"),
        pytest.param((SCRIPTS / "arq", "gitpulse_service.worker.main.WorkerSettings"), id="arq"),
        pytest.param((SCRIPTS / "kopf", "run", "-m", "gitpulse_operator.main", "-A", "--standalone"), id="kopf"),
    ],
)
def test_a_wrong_setting_is_named_however_the_program_is_started(argv, tmp_path):
    done = run(argv, tmp_path, GITPULSE_REDIS_URL="localhost", GITPULSE_INSTALLATION_KEY="short")
    assert done.returncode == 2, done.stderr
    assert "GITPULSE_REDIS_URL: must start with redis://" in done.stderr
    assert "GITPULSE_INSTALLATION_KEY: must be " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("worker", "GITPULSE_DATABASE_URL"),
        ("operator", "GITPULSE_PUBLIC_URL"),
        ("operator", "GITPULSE_INSTALLATION_KEY"),
    ],
)
def test_what_is_required_is_asked_for(command, variable, tmp_path):
    done = run([*GITPULSE, command], tmp_path)
    assert done.returncode == 2
    assert f"{variable}: is not set" in done.stderr


@pytest.mark.parametrize("command", ["receiver", "sim"])
def test_a_port_in_use_is_one_line(command, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        argv = [*GITPULSE, command, "--host", "127.0.0.1", "--port", port]
        if command == "receiver":
            argv += ["--metrics-port", str(free_port())]
        done = run(argv, tmp_path, GITLAB_WEBHOOK_SECRET="secret")
    assert done.returncode == 1
    assert port in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("send", "push", "http://[::1"), "http://[::1 is no URL"),
        (("send", "push", "http://127.0.0.1:99999/"), "is no URL"),
        (("send", "push", "http://127.0.0.1:9/", "--instance", "gitlab"), "gitlab is no URL"),
        (("send", "push", "http://127.0.0.1:9/", "--secret-file", "."), ".: Is a directory"),
        (("send", "push", "http://127.0.0.1:9/", "--secret-file", "binary"), "binary is no text"),
        (("verify", "missing"), "missing: No such file"),
        (("verify", "."), ".: Is a directory"),
        (("doctor", "--url", "receiver:8080"), "receiver:8080 is no URL"),
        (("sim", "--url", "gitlab"), "gitlab is no URL"),
        (("up", "-f", ".", "--public-url", "https://a.example", "--metrics-port", "65535"), "65533"),
    ],
)
def test_what_cannot_be_used_is_named(argv, says, gitpulse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    code, out, err = gitpulse(*argv)
    assert (code, out, says in err) == (2, "", True), err


# A worker that tries twice: by itself it is patient for a minute or more.
IMPATIENT = [
    sys.executable,
    "-c",
    "import gitpulse_service.worker.main as m; m.START_TRIES = 2; import gitpulse_cli.main as c; c.run()",
    "worker",
    "--metrics-port",
]


def test_a_worker_without_redis_gives_up_and_says_so(tmp_path):
    nobody = free_port()
    done = run(
        [*IMPATIENT, str(free_port())],
        tmp_path,
        GITPULSE_REDIS_URL=f"redis://127.0.0.1:{nobody}/0",
        GITPULSE_DATABASE_URL=f"sqlite:///{tmp_path}/g.db",
    )
    assert done.returncode == 1
    assert str(nobody) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_without_its_database_gives_up_and_says_so(tmp_path, redis_url):
    done = run(
        [*IMPATIENT, str(free_port())],
        tmp_path,
        GITPULSE_REDIS_URL=redis_url,
        GITPULSE_DATABASE_URL=f"postgresql://gitpulse:hidden@127.0.0.1:{free_port()}/gitpulse",
    )
    assert done.returncode == 1
    assert "database" in done.stderr
    assert "hidden" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_operator_without_a_cluster_says_so(tmp_path, redis_url):
    done = run(
        [*GITPULSE, "operator", "--metrics-port", str(free_port())],
        tmp_path,
        GITPULSE_REDIS_URL=redis_url,
        GITPULSE_INSTALLATION_KEY=KEY,
        GITPULSE_PUBLIC_URL="https://gitpulse.example.com",
        KUBECONFIG=str(Path(tmp_path) / "none"),
    )
    assert done.returncode == 1
    assert "there is no kubeconfig" in done.stderr
    assert "KUBECONFIG" in done.stderr
    assert "Traceback" not in done.stderr
