"""nginx and Caddy with the very examples that we ship, and a tap on what they send on to the receiver."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis as redis_client

from gitpulse_service.log.codec import decode
from gitpulse_service.log.redis_log import stream
from harness.pki import Authority, KeyPair
from harness.processes import answers, free_port, running
from harness.receiver import SECRET

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PATH = "/api/v1/webhooks/gitlab"
BODY = '{"object_kind" :"push",\t"project":{"id":1},  "commits":[], "é": "\\u0000 \u2028"}\n'.encode()
"""Nothing here survives being parsed and written again."""
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
"""Addresses to send from: the first is put into the allow-list in place of GitLab's."""

# The rest of an nginx: what a distribution's nginx.conf has, with all files in one folder.
NGINX_CONF = """
daemon off; {user} pid nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  include gitpulse.conf;
}}
"""


def post(
    body: bytes = BODY,
    *,
    name: str = "a",
    token: str = SECRET,
    headers: bytes = b"",
    path: str = PATH,
    last: bool = True,
) -> bytes:
    """A delivery's bytes. With a `Content-Length` unless `headers` say how long it is."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Gitlab-Event: Push Hook\r\nIdempotency-Key: {name}\r\n"
    head += f"X-Gitlab-Token: {token}\r\n" if token else ""
    head += "Connection: close\r\n" if last else ""
    framed = b"content-length" in headers.lower() or b"transfer-encoding" in headers.lower()
    return head.encode() + headers + (b"" if framed else b"Content-Length: %d\r\n" % len(body)) + b"\r\n" + body


def get(path: str) -> bytes:
    """The last request of a connection."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def statuses(came: bytes) -> list[int]:
    """Of the answers in what came back."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", came)]


def stored(redis_url: str) -> dict[str, bytes]:
    """The bodies in the event log, by delivery id."""
    with redis_client.Redis.from_url(redis_url) as redis:
        entries = [decode(fields[b"entry"]) for p in range(16) for _, fields in redis.xrange(stream(p))]
    return {entry.delivery_id: entry.body for entry in entries}


def program(name: str) -> str:
    """The path of a program; without it CI fails, and a laptop skips, saying how to get it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        package = {"nginx": "nginx-light", "promtool": "prometheus", "systemd-analyze": "systemd"}.get(name, name)
        message = f"{name} is not installed, so what needs it goes untested: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def shipped(path: str, replacements: Mapping[str, str]) -> str:
    """An example, with addresses, ports and certificate files replaced, and each of them found there."""
    text = (EXAMPLES / path).read_text()
    for old, new in replacements.items():
        assert old in text, f"examples/{path} has no {old}"
        text = text.replace(old, new)
    return text


@dataclass
class Tap:
    """Hands on every byte to a receiver, and keeps a copy of those that go there."""

    far: int
    """The receiver's port; 0: connections are accepted, and that is all."""
    tls: ssl.SSLContext | None = None
    """With which it ends TLS."""
    port: int = 0
    connections: int = 0
    seen: bytearray = field(default_factory=bytearray)
    _flows: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Tap]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.close()
            await asyncio.gather(*self._flows, return_exceptions=True)

    def close(self) -> None:
        """Ends it, with all that goes through it."""
        assert self._server
        self._server.close()
        for flow in self._flows:
            flow.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flow = asyncio.create_task(self._pass(reader, writer))
        self._flows.add(flow)
        flow.add_done_callback(self._flows.discard)
        self.connections += 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            if not self.far:
                await reader.read(-1)
                return
            back, forth = await asyncio.open_connection("127.0.0.1", self.far)
            with contextlib.closing(forth):
                copying = asyncio.create_task(_copy(back, writer))
                try:
                    await _copy(reader, forth, self.seen)
                finally:
                    copying.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bytearray | None = None) -> None:
    while data := await reader.read(65536):
        if keep is not None:
            keep += data
        writer.write(data)
        await writer.drain()
    writer.close()


@dataclass(frozen=True)
class Front:
    """What listens before the receiver."""

    name: str
    port: int
    trust: ssl.SSLContext | None
    """None: it speaks no TLS."""

    async def send(self, request: bytes, *, source: str = INSIDE, within: float = 20) -> bytes:
        """Sends these bytes and returns all that comes back until the other side closes. Raises TimeoutError."""
        name = "localhost" if self.trust else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trust, server_hostname=name, local_addr=(source, 0)
        )
        came = b""
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            writer.write(request)
            async with asyncio.timeout(within):
                while data := await reader.read(65536):
                    came += data
        return came


@contextlib.contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[Front]:
    """The shipped nginx example before this port."""
    port, authority = free_port(), Authority(folder)
    pair = authority.server("front")
    conf = shipped(
        "nginx/gitpulse.conf",
        {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "listen [::]:443 ssl": f"listen 127.0.0.1:{free_port()} ssl",
            **_common(upstream, pair),
        },
    )
    (folder / "gitpulse.conf").write_text(conf)
    user = "user root;" if os.geteuid() == 0 else ""  # or the workers could not enter the folder
    (folder / "nginx.conf").write_text(NGINX_CONF.format(user=user))
    argv = [program("nginx"), "-p", folder, "-c", "nginx.conf"]
    with running(argv, log=folder / "nginx.log", ready=lambda: answers(port)):
        yield Front("nginx", port, ssl.create_default_context(cafile=str(authority.certificate)))


@contextlib.contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[Front]:
    """The shipped Caddy example before this port."""
    port, authority = free_port(), Authority(folder)
    replaced = {
        "https://gitpulse.example.com": f"https://localhost:{port}",
        **_common(upstream, authority.server("front")),
    }
    (folder / "Caddyfile").write_text(shipped("caddy/Caddyfile", replaced))
    argv = [program("caddy"), "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    environment = {**home, "CADDY_ADMIN": f"127.0.0.1:{free_port()}"}
    with running(argv, log=folder / "caddy.log", env=environment, ready=lambda: answers(port)):
        yield Front("caddy", port, ssl.create_default_context(cafile=str(authority.certificate)))


def _common(upstream: int, pair: KeyPair) -> dict[str, str]:
    return {
        "127.0.0.1:8080": f"127.0.0.1:{upstream}",
        "34.74.90.64/28": f"{INSIDE}/32",
        "/etc/ssl/gitpulse/tls.crt": str(pair.certificate),
        "/etc/ssl/gitpulse/tls.key": str(pair.key),
    }
