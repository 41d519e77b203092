"""What comes from npm: what the lock pins, once, from the registry that was chosen; anything else is refused."""

import base64
import contextlib
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gitpulse_service.dashboard import pages

VENDORED = pages.HERE / "npm/vendored.py"


def archive(content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/dist/thing.js")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def registry():
    """A registry with one package; what it was asked for, and what it has."""
    asked, has = [], {"/@some/thing/-/thing-1.0.0.tgz": archive(b"one")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(has[self.path])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        yield f"http://127.0.0.1:{server.server_port}", asked, has


@pytest.fixture
def fill(tmp_path, registry):
    """Runs it as a build does; the file, or what it said."""
    url, _, has = registry
    (content,) = has.values()
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
    locked = {"node_modules/@some/thing": {"version": "1.0.0", "integrity": integrity}}
    (tmp_path / "package.json").write_text(json.dumps({"vendored": {"@some/thing/dist/thing.js": "thing.js"}}))
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": locked}))

    def fill(npm_config_registry=url):
        target = tmp_path / "made"
        command, env = [sys.executable, VENDORED, target, tmp_path], {"npm_config_registry": npm_config_registry}
        done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
        return (target / "thing.js").read_bytes() if done.returncode == 0 else done.stderr

    return fill


def test_it_is_fetched_once(fill, registry):
    _, asked, _ = registry
    assert fill() == b"one"
    assert fill() == b"one"
    assert asked == ["/@some/thing/-/thing-1.0.0.tgz"]


def test_what_is_not_as_locked_is_refused(fill, registry):
    _, _, has = registry
    for path in has:
        has[path] = archive(b"two")
    assert "is not what package-lock.json pins" in fill()


def test_without_a_registry_it_says_what_to_do(fill):
    said = fill("http://127.0.0.1:1/")
    assert "cannot be had" in said
    assert "npm_config_registry" in said
