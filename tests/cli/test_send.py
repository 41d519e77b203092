"""`gitpulse send`: what it sends is what a receiver takes, and what is refused is explained."""

from __future__ import annotations

import os
import subprocess

import pytest

from gitpulse_cli.secrets import generate
from gitpulse_service.contract import WEBHOOK_PATH
from gitpulse_service.receiver.verification import manual_route, verify
from harness.processes import SCRIPTS, free_port
from harness.receiver import SECRET, serving, settings
from harness.target import running_target

EVENTS = {
    "push": "Push Hook",
    "merge_request": "Merge Request Hook",
    "issue": "Issue Hook",
    "pipeline": "Pipeline Hook",
}


def send(event, url, secret, *, code, options=()):
    done = subprocess.run(
        [SCRIPTS / "gitpulse", "send", event, url, *options],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "GITLAB_WEBHOOK_SECRET": secret},
    )
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert not secret or secret not in done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("event", EVENTS)
def test_a_receiver_takes_it(event, redis_url):
    with serving(settings(redis_url)) as port:
        url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
        assert send(event, url, SECRET, code=0).startswith(f"{event} to {url}: 200 in ")
        said = send(event, url, "not-the-one", code=1)
    assert f"{event} to {url}: 401 in " in said
    assert "the receiver has another secret" in said


@pytest.mark.parametrize("signing", [False, True])
def test_it_is_what_gitlab_sends(signing):
    secret = generate(signing=signing)
    with running_target() as target:
        send("push", target.url, secret, code=0, options=("--instance", "https://git.acme.example/"))
        received = target.one()
    assert received.event == EVENTS["push"]
    assert received.headers["X-Gitlab-Instance"] == "https://git.acme.example"
    assert received.json["project"]["web_url"] == "https://git.acme.example/acme/website"
    headers = {name.lower().encode(): value.encode() for name, value in received.headers.items()}
    assert verify(manual_route(secret), headers, received.body, now=float(headers[b"webhook-timestamp"])) == 0
    assert (b"x-gitlab-token" in headers) is not signing


def test_what_cannot_be_sent():
    nobody = free_port()
    assert "Connection refused" in send("issue", f"http://127.0.0.1:{nobody}/", SECRET, code=1)
    assert "is no URL" in send("issue", "receiver:8080", SECRET, code=2)
    assert "which secret?" in send("issue", f"http://127.0.0.1:{nobody}/", "", code=2)
    assert "32 bytes in base64" in send("issue", f"http://127.0.0.1:{nobody}/", "whsec_x", code=2)
    assert "merge_request" in send("wiki", f"http://127.0.0.1:{nobody}/", SECRET, code=2)
