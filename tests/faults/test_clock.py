"""The receiver's clock is stepped by an hour, either way, while it runs; worker and Redis keep the right time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time

import pytest

from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_ACKS,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Credential,
    Route,
    seal,
)
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from harness.casualties import SERVE
from harness.dumps import count
from harness.processes import SCRIPTS, answers, free_port, running
from harness.receiver import PUSH, client_of, eventually

KEY = b"k" * 32
STEPPED = """
import pathlib, sys, time
step, right, right_ns = pathlib.Path(sys.argv[2]), time.time, time.time_ns
time.time = lambda: right() + int(step.read_text())
time.time_ns = lambda: right_ns() + int(step.read_text()) * 10**9
"""
"""The wall clock for all of Python in this process; what measures time, the monotonic clock, never steps."""


@pytest.fixture
async def publish(redis, installation_key):
    async def publish(hook_id):
        route = Route(hook_id, "", "", (Credential(1, "token", KEY),))
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hset(DIRECTORY, hook_id, seal(installation_key, route))
            pipe.xadd(DIRECTORY_CHANGES, {"hook": hook_id})
            pipe.hset(DIRECTORY_SHARDS, "", "1")
            await pipe.execute()

    return publish


def signed(name, ahead):
    """Headers of a delivery signed by a clock that is so many seconds ahead of the right one."""
    stamp = str(int(time.time()) + ahead)
    message = f"{name}.{stamp}.".encode() + json.dumps(PUSH).encode()
    signature = "v1," + base64.b64encode(hmac.digest(KEY, message, hashlib.sha256)).decode()
    return {"webhook_id": name, "webhook_timestamp": stamp, "webhook_signature": signature}


@pytest.mark.parametrize("ahead", [3600, -3600])
async def test_only_signatures_go_by_the_clock(tmp_path, service_environment, redis, publish, ahead):
    step, port, metrics_port = tmp_path / "step", free_port(), free_port()
    step.write_text("0")
    engine = create_engine(service_environment["GITPULSE_DATABASE_URL"])
    await migrate(engine)
    await publish("hook")
    receive = [sys.executable, "-c", STEPPED + SERVE, str(port), step]
    work = [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(metrics_port)]
    with (
        running(receive, log=tmp_path / "receiver.log", env=service_environment, ready=lambda: answers(port)),
        running(work, log=tmp_path / "worker.log", env=service_environment, ready=lambda: answers(metrics_port)),
    ):
        async with client_of(port) as client:

            async def says(hook="hook", **delivery):
                answer = await client.deliver(hook, **delivery)
                return answer.json().get("status") if answer.status_code == 200 else answer.status_code

            async def counted(deliveries):
                return await count(engine, "delivery") == deliveries

            async def acknowledged():
                ((_, note),) = (await redis.hgetall(DIRECTORY_ACKS)).items()
                return int(note.split()[1]) / 1000 - time.time()

            async def accepts(hook):
                return await says(hook, token="token", name="before") == "accepted"

            await eventually(lambda: accepts("hook"))  # the directory is loaded
            assert await says(token="", **signed("signed-before", 0)) == "accepted"
            await eventually(lambda: counted(2))
            step.write_text(str(ahead))
            assert await says(token="", **signed("right", 0)) == 401  # for the receiver it is an hour old, or early
            assert await says(token="", **signed("as wrong", ahead)) == "accepted"
            assert await says(token="token", name="after") == "accepted"
            assert await says(token="token", name="before") == "duplicate"
            await publish("new")  # the directory is followed as before, and acknowledged by the receiver's own time
            await eventually(lambda: accepts("new"))

            async def is_stepped():
                return abs(await acknowledged() - ahead) < 60

            await eventually(is_stepped)
            step.write_text("0")
            assert await says(token="", **signed("right", 0)) == "accepted"

            # A doorbell from the future rings late; the worker's sweep does not wait for it.
            await eventually(lambda: counted(6), within=30)
    await engine.dispose()
