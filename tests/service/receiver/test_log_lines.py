"""What the receiver logs: nothing of what went well, one JSON line of what did not, and never a secret."""

import json
import sys

import pytest

from gitpulse_service.metrics import WEBHOOK_DURATION
from harness.processes import answers, free_port, running
from harness.receiver import PUSH, SECRET, client_of

SERVE = """
import sys
from gitpulse_service.receiver import server
from gitpulse_service.settings import ServiceSettings
server.run(ServiceSettings.load(), port=int(sys.argv[1]), metrics_port=None)
"""


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Starts a receiver of its own, on this Redis; its client, and what it has logged once it has ended."""
    monkeypatch.setenv("GITLAB_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("GITPULSE_MAX_BODY_BYTES", "2000")
    log, port = tmp_path / "receiver.log", free_port()

    def start(redis_url):
        monkeypatch.setenv("GITPULSE_REDIS_URL", redis_url)
        return running([sys.executable, "-c", SERVE, str(port)], log=log, ready=lambda: answers(port))

    def lines():
        return [json.loads(line) for line in log.read_text().splitlines()]

    return start, client_of(port), lines


async def test_what_goes_well_leaves_no_line(process, redis_url):
    start, client, lines = process
    with start(redis_url):
        async with client:
            assert [(await client.deliver(name="a")).json()["status"] for _ in range(2)] == ["accepted", "duplicate"]
            assert (await client.deliver(X_Gitlab_Event="Wiki Page Hook", body={"object_kind": "wiki_page"})).is_success
            assert (await client.get("/api/v1/health")).is_success
    assert lines() == []


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        ({"token": f"not-{SECRET}"}, "wrong_token"),
        ({"token": ""}, "no_secret"),
        ({"body": b"{" + SECRET.encode()}, "not_json"),
        ({"body": b" " * 2001}, "body_too_large"),
        ({"hook_id": "strange\u2028" + "h" * 99}, "unknown_hook"),
    ],
)
async def test_what_is_refused_leaves_one_line(process, redis_url, delivery, reason):
    start, client, lines = process
    with start(redis_url):
        async with client:
            assert not (await client.deliver(**{"name": "delivery-1", "body": PUSH, **delivery})).is_success
    (line,) = lines()
    assert line["level"] == "warning"
    assert (line["delivery_id"], line["reason"]) == ("delivery-1", reason)
    assert line["hook_id"] == delivery.get("hook_id", "")[:64]
    assert SECRET not in json.dumps(line)


async def test_what_cannot_be_stored_leaves_one_line_without_the_password(process):
    start, client, lines = process
    with start(f"redis://user:pass-of-redis@127.0.0.1:{free_port()}/0"):
        async with client:
            assert (await client.deliver(name="delivery-1")).status_code == 503
    _, line = lines()  # the first one is of the start
    assert (line["hook_id"], line["delivery_id"], line["reason"]) == ("", "delivery-1", "LogUnavailable")
    assert "pass-of-redis" not in json.dumps(lines())


def test_the_buckets_tell_milliseconds_apart():
    bounds = WEBHOOK_DURATION._upper_bounds
    assert len([bound for bound in bounds if bound <= 0.01]) >= 4
    assert max(bound for bound in bounds if bound != float("inf")) == 10  # GitLab's own patience
