"""The receiver as people start it: curl against uvicorn, metrics on their own port, wrong settings, and no secrets."""

import asyncio
import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import urllib.request

import pytest

from gitpulse_service.contract import Credential
from gitpulse_service.receiver import server
from harness.event_log import open_log
from harness.processes import SCRIPTS, answers, free_port, running, stop, wait_until
from harness.receiver import SECRET, eventually

FACTORY = [SCRIPTS / "uvicorn", "gitpulse_service.receiver.app:create_app", "--factory"]
SERVE = """
import sys
from gitpulse_service.receiver import server
from gitpulse_service.settings import ServiceSettings
server.run(ServiceSettings.load(), port=int(sys.argv[1]), metrics_port=int(sys.argv[2]))
"""


@pytest.fixture
def environment(redis_url, installation_key):
    return {
        "GITPULSE_REDIS_URL": redis_url,
        "GITPULSE_INSTALLATION_KEY": base64.b64encode(installation_key).decode(),
        "GITLAB_WEBHOOK_SECRET": SECRET,
    }


def curl(port, path, *arguments):
    """Status and body of a request made by curl."""
    argv = ["curl", "-s", "-w", "\n%{http_code}", f"http://127.0.0.1:{port}/api/v1/{path}", *arguments]
    body, status = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.rsplit("\n", 1)
    return int(status), body


def deliver(port, token, hook=""):
    body = '{"object_kind": "push", "project": {"id": 1}, "commits": []}'
    arguments = ["-X", "POST", "-H", f"X-Gitlab-Token: {token}", "-H", "X-Gitlab-Event: Push Hook", "-d", body]
    return curl(port, f"webhooks/gitlab{hook}", *arguments)


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        return page.read().decode()


async def test_by_hand_with_curl_and_nothing_secret_shows(tmp_path, environment, publish, redis):
    await publish("managed", Credential(3, "managed-token", b"k" * 32))
    port, metrics_port, log = free_port(), free_port(), tmp_path / "receiver.log"
    argv = [SCRIPTS / "python", "-c", SERVE, str(port), str(metrics_port)]
    with running(argv, log=log, env=environment, ready=lambda: answers(port)) as process:
        wait_until(lambda: curl(port, "ready")[0] == 200)
        status, body = deliver(port, SECRET)
        assert (status, bool(re.fullmatch(r'\{"status":"accepted","job_id":"\d+-\d+-\d+"\}', body))) == (200, True)
        partition = body.split('"')[7].split("-")[0]
        await eventually(lambda: redis.exists(f"arq:job:drain:{partition}:0"))  # the workers are woken
        assert deliver(port, "managed-token", "/managed")[0] == 200
        assert deliver(port, SECRET + "x")[0] == 401
        assert deliver(port, "managed-tokem", "/managed")[0] == 401
        assert curl(port, "health") == (200, '{"status":"ok"}')
        metrics = scrape(metrics_port)
        assert 'gitlab_webhook_requests_total{reason="",status="accepted"} 2.0' in metrics
        assert 'gitlab_webhook_requests_total{reason="wrong_token",status="error"} 2.0' in metrics
        assert 'gitlab_webhook_duration_seconds_bucket{le="+Inf"} 4.0' in metrics
        assert "gitpulse_directory_ready 1.0" in metrics
        stop(process)
        assert process.returncode == -signal.SIGTERM
    assert not answers(metrics_port)
    logged = log.read_text()
    assert logged.count('"reason": "wrong_token"') == 2
    assert '"hook_id": "managed"' in logged
    assert "Traceback" not in logged
    for secret in (SECRET, "managed-toke", "k" * 32, environment["GITPULSE_INSTALLATION_KEY"]):
        assert secret not in logged
        assert secret not in metrics


def test_by_uvicorns_own_command(tmp_path, environment):
    port = free_port()
    argv = [*FACTORY, "--port", str(port)]
    with running(argv, log=tmp_path / "log", env=environment, ready=lambda: answers(port)):
        assert deliver(port, SECRET)[0] == 200


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"GITPULSE_REDIS_URL": "localhost"},
            "GITPULSE_REDIS_URL: must start with redis://, rediss://, redis+sentinel:// or unix://\n",
        ),
        ({"GITLAB_WEBHOOK_SECRET": ""}, "GITLAB_WEBHOOK_SECRET: is empty; give it a value, or do not set it\n"),
        (
            {"GITLAB_WEBHOOK_SECRET": "whsec_hunter2"},
            "GITLAB_WEBHOOK_SECRET: begins with whsec_, so 32 bytes in base64 must follow\n",
        ),
        (
            {"GITPULSE_REFUSED_LIMIT": "many"},
            "GITPULSE_REFUSED_LIMIT: is no limit; write one such as 100/minute, or nothing for no limit\n",
        ),
        (
            {"GITPULSE_HOOK_LIMIT": "1/second; 9/minute"},
            "GITPULSE_HOOK_LIMIT: is no limit; write one such as 100/minute, or nothing for no limit\n",
        ),
        (
            {"GITPULSE_ALLOWED_ADDRESSES": "10.0.0.1/8"},
            "GITPULSE_ALLOWED_ADDRESSES: 10.0.0.1/8 has host bits set; give addresses or CIDRs such as 10.0.0.0/8,"
            " 2001:db8::/32\n",
        ),
        (
            {"GITPULSE_TRUSTED_PROXIES": "nginx"},
            "GITPULSE_TRUSTED_PROXIES: 'nginx' does not appear to be an IPv4 or IPv6 network; give addresses or CIDRs"
            " such as 10.0.0.0/8, 2001:db8::/32\n",
        ),
    ],
)
def test_a_wrong_setting_ends_it_with_one_line(environment, wrong, says):
    argv = [*FACTORY, "--port", str(free_port())]
    environment = os.environ | environment | wrong
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", says)


def test_a_stopping_receiver_answers_what_it_has_begun_to_read(tmp_path, environment):
    port = free_port()
    argv = [SCRIPTS / "python", "-c", SERVE, str(port), str(free_port())]
    with running(argv, log=tmp_path / "log", env=environment, ready=lambda: answers(port)) as process:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            body = b'{"object_kind":"push","project":{"id":1}}'
            head = f"POST /api/v1/webhooks/gitlab HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\n"
            client.sendall(head.encode() + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
            assert b" 100 " in client.recv(9999)
            client.sendall(body[:10])
            process.terminate()
            wait_until(lambda: not answers(port), what="the listener closed")
            client.sendall(body[10:])
            with client.makefile("rb") as answer:  # up to its end: head and body may come apart
                assert b'"accepted"' in answer.read()
        process.wait(10)


async def deliver_until_closed(port, accepted, sent):
    """Delivers over one connection, one after the other, until that is closed or refused."""
    body = b'{"object_kind":"push","project":{"id":1}}'
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            while True:
                sent.append(name := f"d{len(sent)}")
                head = f"POST /api/v1/webhooks/gitlab HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\n"
                head += f"X-Gitlab-Event: Push Hook\r\nIdempotency-Key: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200 "), answer
                accepted.append(name)
                await reader.readuntil(b"}")


async def test_sigterm_under_load_answers_what_was_read_and_closes_the_rest(tmp_path, environment, redis_url):
    port, accepted, sent = free_port(), [], []
    argv = [SCRIPTS / "python", "-c", SERVE, str(port), str(free_port())]
    with running(argv, log=tmp_path / "log", env=environment, ready=lambda: answers(port)) as process:
        clients = asyncio.gather(*(deliver_until_closed(port, accepted, sent) for _ in range(32)))

        async def under_way():
            return len(accepted) > 500

        await eventually(under_way, within=20)
        process.terminate()
        async with asyncio.timeout(server.GRACE):
            await clients
        assert not answers(port)
        process.wait(server.GRACE)
    log = open_log(redis_url, partitions=16)
    entries = [entry for p in range(16) for entry in await log.read(p, consumer="test", count=10**6, size=1 << 30)]
    await log.aclose()
    assert sorted(e.envelope.delivery_id for e in entries) == sorted(accepted)
    assert len(sent) > len(accepted)  # some came too late, and were not read
    assert "Traceback" not in (tmp_path / "log").read_text()
