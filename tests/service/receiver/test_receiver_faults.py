"""The receiver when what it leans on is away: it starts, says 503 at once, and accepts again by itself."""

import asyncio
import os
import signal
import time

import pytest

from gitpulse_service.contract import DIRECTORY, DIRECTORY_CHANGES, DIRECTORY_SHARDS, Credential, Route, seal
from gitpulse_service.errors import CannotServe
from gitpulse_service.receiver import server
from harness.processes import free_port
from harness.receiver import eventually, receiver, settings
from harness.redis import redis_server


async def accepted(client, **delivery):
    return (await client.deliver(**delivery)).status_code == 200


async def ready(client):
    return (await client.get("/api/v1/ready")).status_code == 200


def assert_unavailable(answer):
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


async def test_redis_is_down_at_start_and_comes_up_later(tmp_path, caplog):
    port = free_port()
    async with receiver(settings(f"redis://:hunter2@127.0.0.1:{port}/0")) as client:
        assert_unavailable(await client.deliver())
        assert (await client.get("/api/v1/ready")).status_code == 503
        assert (await client.get("/api/v1/health")).status_code == 200
        assert [r.message for r in caplog.records if "answering 503" in r.message]
        assert "hunter2" not in caplog.text
    async with receiver(settings(f"redis://127.0.0.1:{port}/0")) as client:
        assert_unavailable(await client.deliver())
        with redis_server(tmp_path, port=port):
            await eventually(lambda: accepted(client), within=1.5)
            assert await ready(client)


async def test_redis_is_stopped_and_started_again(tmp_path):
    port = free_port()
    with redis_server(tmp_path, port=port, appendonly=True):
        pass
    async with receiver(settings(f"redis://127.0.0.1:{port}/0")) as client:
        with redis_server(tmp_path, port=port, appendonly=True):
            await eventually(lambda: accepted(client, name="one"))
        started = time.monotonic()
        answers = await asyncio.gather(*(client.deliver(name=f"lost{i}") for i in range(20)))
        assert time.monotonic() - started < 1.5
        for answer in answers:
            assert_unavailable(answer)
        with redis_server(tmp_path, port=port, appendonly=True):
            await eventually(lambda: accepted(client, name="two"), within=1.5)
            assert (await client.deliver(name="one")).json()["status"] == "duplicate"


async def test_a_paused_redis_is_answered_for_soon(tmp_path):
    with redis_server(tmp_path) as redis:
        async with receiver(settings(redis.url)) as client:
            assert await accepted(client)
            os.kill(redis.pid, signal.SIGSTOP)
            try:
                started = time.monotonic()
                assert_unavailable(await client.deliver())
                assert time.monotonic() - started < 3
            finally:
                os.kill(redis.pid, signal.SIGCONT)
            await eventually(lambda: accepted(client), within=1.5)


async def test_a_managed_hook_is_503_until_the_directory_is_complete(redis_url, redis, publish, installation_key):
    async with receiver(settings(redis_url, installation_key=installation_key)) as client:
        assert_unavailable(await client.deliver("one", token="t"))
        assert not await ready(client)
        assert await accepted(client)  # the hook made by hand needs no directory
        await publish("one", Credential(1, "t"), complete=False)
        await eventually(lambda: accepted(client, hook_id="one", token="t"))
        assert_unavailable(await client.deliver("two", token="t"))
        await redis.hset(DIRECTORY_SHARDS, "", "1")
        await eventually(lambda: ready(client))
        assert (await client.deliver("two", token="t")).status_code == 401


async def test_a_hook_sealed_with_another_key_is_503_not_401(redis_url, redis, installation_key):
    route = Route("one", "", "", (Credential(1, "t"),))
    await redis.hset(DIRECTORY, "one", seal(bytes(32), route))
    await redis.xadd(DIRECTORY_CHANGES, {"hook": "one"})
    await redis.hset(DIRECTORY_SHARDS, "", "1")
    async with receiver(settings(redis_url, installation_key=installation_key)) as client:

        async def known():
            return (await client.deliver("two", token="t")).status_code == 401

        await eventually(known)
        assert_unavailable(await client.deliver("one", token="t"))
        assert not await ready(client)


@pytest.mark.parametrize("taken", ["port", "metrics_port"])
async def test_a_port_in_use_is_one_clear_error(redis_url, taken):
    async with await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0) as other:
        busy = other.sockets[0].getsockname()[1]
        ports = {"port": free_port(), "metrics_port": free_port(), taken: busy}
        with pytest.raises(
            CannotServe, match=f"{busy}: Address already in use; choose another --{taken}".replace("_", "-")
        ):
            await server.serve(settings(redis_url), **ports)
