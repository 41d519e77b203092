"""An installation that is well, for faults to be seeded in: a GitLab, Redis, worker, receiver, folder of resources."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import redis as redis_client
from click.testing import Result
from typer.testing import CliRunner

from gitpulse_cli.main import app
from gitpulse_service.contract import DIRECTORY_ACKS, WEBHOOK_PATH
from gitpulse_sim.hook import Hook
from harness.front import Tap
from harness.house import House
from harness.pki import KeyPair
from harness.processes import SCRIPTS, free_port, running, wait_until
from harness.receiver import SECRET, serving, settings
from harness.redis import redis_server
from harness.simulator import Simulator

KEY = bytes(range(32))
PASSWORD = "a-password"
"""Of whatever wants one."""


@dataclass(frozen=True)
class Ground:
    """What tests share: a Redis that keeps what it has, a database, and a worker between them."""

    redis_url: str
    database_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GITPULSE_REDIS_URL": self.redis_url,
            "GITPULSE_DATABASE_URL": self.database_url,
            "GITPULSE_INSTALLATION_KEY": base64.b64encode(KEY).decode(),
        }

    def clear(self) -> None:
        """Takes away what a test has left, and not the worker's sign of life."""
        with redis_client.Redis.from_url(self.redis_url) as redis:
            for pattern in ("gitpulse:directory*", "gitpulse:feedback:*", "gitpulse:dead", "gitpulse:accesses"):
                for key in redis.scan_iter(match=pattern):
                    redis.delete(key)


@contextlib.contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """They run until the block ends."""
    (folder / "redis").mkdir()
    with redis_server(folder / "redis", appendonly=True) as redis:
        it = Ground(redis.url, f"sqlite:///{folder / 'gitpulse.db'}")
        with (
            redis_client.Redis.from_url(redis.url) as client,
            running(
                [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(free_port())],
                log=folder / "worker.log",
                env=it.environment,
                ready=lambda: list(client.scan_iter(match="gitpulse:worker:*")),
            ),
        ):
            yield it


@dataclass
class Patient:
    """An installation without an operator yet, and without a receiver."""

    house: House
    simulator: Simulator
    ground: Ground
    stack: contextlib.ExitStack
    environment: dict[str, str]
    arguments: list[str] = field(default_factory=list)
    port: int = 0

    @classmethod
    @contextlib.contextmanager
    def admitted(cls, folder: Path, simulator: Simulator, ground: Ground) -> Iterator[Patient]:
        ground.clear()
        house = House(folder, simulator, ground.redis_url, KEY)
        house.state = house.manifests / ".gitpulse/state.json"
        with contextlib.ExitStack() as stack:
            patient = cls(house, simulator, ground, stack, dict(ground.environment), port=free_port())
            patient.arguments = ["-f", str(house.manifests)]
            house.public_url = f"http://127.0.0.1:{patient.port}"
            yield patient

    def receive(self, *, port: int = 0, **more: Any) -> contextlib.ExitStack:
        """Starts a receiver, which ends with the stack that is returned, or at the end of the test."""
        own = self.stack.enter_context(contextlib.ExitStack())
        given = {"installation_key": KEY, "redis_url": self.house.redis_url, **more}
        own.enter_context(serving(settings(given.pop("redis_url"), **given), port=port or self.port))
        if given["installation_key"]:
            wait_until(lambda: self.house.redis.hlen(DIRECTORY_ACKS), what="a receiver's acknowledgement")
        return own

    def by_hand(self, *, receive: bool = True) -> Hook:
        """In place of an operator: somebody has made the hook, with the secret that the receiver has."""
        del self.environment["GITPULSE_INSTALLATION_KEY"]
        self.environment |= {
            "GITLAB_WEBHOOK_SECRET": SECRET,
            "GITPULSE_GITLAB_URL": self.simulator.url,
            "GITPULSE_GITLAB_TOKEN": self.simulator.token,
        }
        self.arguments = ["--url", self.house.public_url]
        if receive:
            self.receive(installation_key=None)
        return self.make_hook()

    def make_hook(self) -> Hook:
        """As somebody makes one in GitLab's settings."""
        hook = self.simulator.world.add_hook(self.simulator.website, self.house.public_url + WEBHOOK_PATH)
        hook.token = SECRET
        return hook

    def operate(self) -> None:
        """A run of the operator over all resources."""
        self.environment["GITPULSE_PUBLIC_URL"] = self.house.public_url
        asyncio.run(self.house.run())

    def well(self) -> contextlib.ExitStack:
        """All of it, and a delivery. Returns the receiver."""
        self.operate()  # first: a receiver that waits for the directory looks for it each second
        receiver = self.receive()
        self.simulator.push()
        return receiver

    @property
    def hook(self) -> Hook:
        (only,) = self.house.hooks()
        return only

    def examine(self, *more: str) -> tuple[int, list[dict[str, str]]]:
        """What the command says of it: exit code and rows."""
        done = self.say("-o", "json", *more)
        return done.exit_code, json.loads(done.stdout)

    def say(self, *more: str) -> Result:
        """What the command prints. None of the secrets is in it."""
        done = CliRunner().invoke(app, ["doctor", *self.arguments, *more], env=self.environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        for secret in self._secrets():
            assert secret not in done.stdout + done.stderr
        return done

    def _secrets(self) -> Iterator[str]:
        yield from (PASSWORD, SECRET, self.house.token, self.environment.get("GITPULSE_INSTALLATION_KEY", PASSWORD))
        for hook in self.simulator.website.hooks.values():
            yield from filter(None, (hook.token, hook.signing_token))


def causes(rows: list[dict[str, str]]) -> list[str]:
    """Those that are named, each once."""
    return list(dict.fromkeys(row["cause"] for row in rows if row["cause"]))


@contextlib.contextmanager
def tls_front(loop: asyncio.AbstractEventLoop, pair: KeyPair, far: int) -> Iterator[int]:
    """Ends TLS before a receiver; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    serving = Tap(far, context).serving()
    tap = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(10)
    try:
        yield tap.port
    finally:
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(10)


@contextlib.contextmanager
def proxy(answer: Callable[[str, bytes, Mapping[str, str]], int]) -> Iterator[int]:
    """Something in front that answers each request with the status that `answer` gives it; yields its port.

    It is given the method, the body and the headers.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status = answer(self.command, body, dict(self.headers))
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"<html>a proxy</html>")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
