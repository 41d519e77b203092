"""`gitpulse up`: all of GitPulse on one machine against a real GitLab, and its operator alone over a folder.

Redis, receiver and worker run as programs of their own; the operator's loop runs here, over YAML files.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import secrets as randomness
import shlex
import socket
from pathlib import Path

from gitpulse_cli import children
from gitpulse_cli.errors import CommandError, WrongInput
from gitpulse_cli.output import console
from gitpulse_operator.adapters.manifests import FolderCluster, state_of, write_own
from gitpulse_operator.local import held, look_after
from gitpulse_operator.metrics import serve_metrics
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service import logs
from gitpulse_service.contract import WEBHOOK_PATH

logger = logging.getLogger(__name__)
PARTS = ("receiver", "worker", "operator")
"""In the order of their ports of metrics."""


async def run(
    folder: Path, state: Path | None, secrets: Path | None, *, host: str, port: int, public_url: str, metrics_port: int
) -> None:
    """Runs everything until SIGINT or SIGTERM. Raises CommandError, StateInUse, SettingsError."""
    logs.configure("gitpulse_operator", "gitpulse_cli")
    if not (public_url := public_url or os.environ.get("GITPULSE_PUBLIC_URL", "")):
        raise WrongInput("where does GitLab reach this machine? Say --public-url https://…, or GITPULSE_PUBLIC_URL")
    state = state or state_of(folder).parent
    metrics = {part: metrics_port and metrics_port + place for place, part in enumerate(PARTS)}
    with children.until_told(), held(state) as lock:
        _check_free(host, port)
        for number in filter(None, metrics.values()):
            _check_free("127.0.0.1", number)
        async with contextlib.AsyncExitStack() as parts:
            own = {"GITPULSE_DATABASE_URL": f"sqlite:///{state.absolute() / 'gitpulse.db'}"}
            own["GITPULSE_INSTALLATION_KEY"] = _key(state)
            if not os.environ.get("GITPULSE_REDIS_URL"):
                redis, own["GITPULSE_REDIS_URL"] = children.redis(state)
                await parts.enter_async_context(children.kept(redis, holding=[lock]))
            made = {name: value for name, value in own.items() if not os.environ.get(name)}
            made["GITPULSE_PUBLIC_URL"] = public_url
            write_own(state / "env", "".join(f"{name}={shlex.quote(value)}\n" for name, value in made.items()))
            os.environ.update(made)
            settings = OperatorSettings.load()
            for program in children.services(host, port, metrics, os.environ):
                await parts.enter_async_context(children.kept(program, holding=[lock]))
            parts.enter_context(serve_metrics(metrics["operator"], "127.0.0.1"))
            _tell(host, port, settings, state)
            await look_after(settings, _cluster(folder, state, secrets))


async def operate(folder: Path, state: Path | None, secrets: Path | None, *, metrics_port: int | None) -> None:
    """Runs the operator alone until SIGINT or SIGTERM. Raises SettingsError, StateInUse, PortTaken."""
    logs.configure("gitpulse_operator")
    settings = OperatorSettings.load()
    state = state or state_of(folder).parent
    port = settings.metrics_port if metrics_port is None else metrics_port
    with children.until_told(), held(state), serve_metrics(port):
        await look_after(settings, _cluster(folder, state, secrets))


def _cluster(folder: Path, state: Path, secrets: Path | None) -> FolderCluster:
    return FolderCluster([folder], state / "state.json", secrets=secrets, read=False)


def _check_free(host: str, port: int) -> None:
    """Else whoever listens there would be taken for ours. Raises CommandError."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            text = f"{host} port {port}: {error.strerror or error}; choose another --host, --port or --metrics-port"
            raise CommandError(text) from None


def _key(state: Path) -> str:
    """The installation key of this state, made once."""
    file = state / "installation.key"
    if not file.exists():
        write_own(file, base64.b64encode(randomness.token_bytes(32)).decode() + "\n")
    return file.read_text().strip()


def _tell(host: str, port: int, settings: OperatorSettings, state: Path) -> None:
    here = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = {
        "dashboard": f"{here}/",
        "webhooks": f"{settings.public_url}{WEBHOOK_PATH}/…",
        "state": f"{state} (for other commands: set -a; . {state / 'env'})",
    }
    if not console.is_terminal:
        logger.info("up; %s", ", ".join(f"{name}: {text}" for name, text in lines.items()))
        return
    console.print("GitPulse is up; Ctrl-C ends it", style="bold")
    for name, text in lines.items():
        console.print(f"  {name:<10} {text}", markup=False)
