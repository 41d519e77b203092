"""A container registry on loopback, as much of it as Helm asks for: TLS, a login, blobs and manifests in memory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from harness import pki

USER, PASSWORD = "gitlab-ci-token", "a-job-token"


@dataclass
class Registry:
    """What was pushed."""

    host: str
    certificate: Path
    """Who trusts it: `SSL_CERT_FILE`."""
    content: dict[str, bytes] = field(default_factory=dict)
    """By path below /v2/ with a digest at its end, or a tag."""
    types: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """As GitLab gives them to the jobs of `team/app`."""
        image = f"{self.host}/team/app"
        return {
            "CI_REGISTRY": self.host,
            "CI_REGISTRY_IMAGE": image,
            "CI_REGISTRY_USER": USER,
            "CI_REGISTRY_PASSWORD": PASSWORD,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {known}":
            return self._answer(401, WWW_Authenticate='Basic realm="registry"')
        url = urlsplit(self.path)
        name = url.path.removeprefix("/v2/")
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if self.command == "POST":
            return self._answer(202, Location=f"{url.path}1")
        if self.command == "PUT":
            if "/blobs/uploads/" in name:
                assert parse_qs(url.query)["digest"] == [digest]
                name = f"{name.partition('/uploads/')[0]}/{digest}"
            for path in (name, f"{name.rpartition('/')[0]}/{digest}"):
                self.registry.content[path] = body
                self.registry.types[path] = self.headers.get("Content-Type", "application/octet-stream")
            return self._answer(201, Location=f"/v2/{name}", Docker_Content_Digest=digest)
        if not name:
            return self._answer(200)
        if (found := self.registry.content.get(name)) is None:
            return self._answer(404)
        digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
        return self._answer(200, found, Content_Type=self.registry.types[name], Docker_Content_Digest=digest)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815


@contextlib.contextmanager
def registry_server(folder: Path) -> Iterator[Registry]:
    """An empty one, until the block ends."""
    authority = pki.Authority(folder)
    pair = authority.server("registry")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
        registry = _Handler.registry = Registry(f"127.0.0.1:{server.server_port}", authority.certificate)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
