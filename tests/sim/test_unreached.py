"""What GitLab says where no receiver answers: section 1.6's failures and section 6's filter, in Ruby's words."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.pki import Authority


def words(api, simulator, url):
    """Of the test of a hook with this URL."""
    hook = simulator.run(_made(simulator, url))
    reply = api("POST", f"/projects/1/hooks/{hook.id}/test/push_events")
    assert reply.status_code == 422
    assert hook.log.rows[-1].status is None
    return reply.json()["message"]


async def _made(simulator, url):
    return simulator.world.add_hook(simulator.website, url)


def test_nobody_listens(api, simulator, deaf_port):
    place, where = f"127.0.0.1:{deaf_port}", f'"127.0.0.1" port {deaf_port}'
    said = words(api, simulator, f"http://{place}/")
    assert said == f"Failed to open TCP connection to {place} (Connection refused - connect(2) for {where})"


def test_a_name_that_nobody_has(api, simulator, monkeypatch):
    """Whatever the machine's resolver says, and however long it takes."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **more):
        if host == "gitpulse.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    said = words(api, simulator, "http://gitpulse.invalid/")
    assert said == "Failed to open TCP connection to gitpulse.invalid:80 (getaddrinfo: Name or service not known)"


def test_a_certificate_of_an_authority_that_is_not_known(api, simulator, tmp_path):
    pair = Authority(tmp_path).server("front")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        said = words(api, simulator, f"https://127.0.0.1:{server.server_port}/")
        server.shutdown()
        thread.join()
    assert said.startswith("SSL_connect returned=1 errno=0 state=error: certificate verify failed (")
    assert "self-signed certificate in certificate chain" in said or "unable to get local issuer" in said


@pytest.mark.parametrize(
    ("host", "where"), [("127.0.0.1", "localhost"), ("localhost", "localhost"), ("10.1.2.3", "the local network")]
)
def test_the_outbound_filter_stops_hooks_that_are_there(api, simulator, host, where, deaf_port):
    simulator.world.instance.outbound_filter = True
    said = words(api, simulator, f"http://{host}:{deaf_port}/")
    assert said == f"URL is blocked: Requests to {where} are not allowed"


def test_answers_tell_the_time_of_the_instances_own_clock(api, simulator):
    for skew in (0.0, -3600.0):
        simulator.world.instance.signature_clock_skew = skew
        said = api("GET", "/version").headers["Date"]
        assert abs(parsedate_to_datetime(said).timestamp() - time.time() - skew) < 60
