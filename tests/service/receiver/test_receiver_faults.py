"""The receiver when what it leans on is away: it starts, says 503 at once, and accepts again by itself."""

import asyncio
import os
import signal
import ssl
import time

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from gitpulse_service.contract import (
    DIRECTORY,
    DIRECTORY_CHANGES,
    DIRECTORY_SHARDS,
    Credential,
    Route,
    feedback_key,
    seal,
)
from gitpulse_service.errors import CannotServe
from gitpulse_service.log.codec import decode
from gitpulse_service.log.redis_log import stream
from gitpulse_service.receiver import server
from harness.pki import Authority
from harness.processes import free_port
from harness.proxy import Proxy
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


async def test_a_redis_that_is_killed_and_loads_its_file_for_long(tmp_path):
    """It listens all the while. The script is loaded anew."""
    port = free_port()
    async with receiver(settings(f"redis://127.0.0.1:{port}/0")) as client:
        with redis_server(tmp_path, port=port, appendonly=True) as redis:
            assert await accepted(client, name="before")
            async with Redis.from_url(redis.url) as other:
                for _ in range(20):
                    await other.mset({f"filler-{i}": i for i in range(1000)})
                    for i in range(200):
                        await other.set("filler", i)
            os.kill(redis.pid, signal.SIGKILL)
            await eventually(lambda: refused(client))
        slowly = ("--key-load-delay", 300)
        with redis_server(tmp_path, *slowly, port=port, appendonly=True, loaded=False):
            answers = []
            while (await client.deliver(name="after")).status_code == 503:
                answers.append(await says(client))
            assert any("loading" in text.lower() for text in answers)
            assert (await client.deliver(name="before")).json()["status"] == "duplicate"


async def refused(client):
    return (await client.deliver()).status_code == 503


async def says(client):
    return (await client.get("/api/v1/ready")).text


@pytest.mark.parametrize("how", [{"maxmemory": 1}, {"min-replicas-to-write": 1}], ids=str)
async def test_a_redis_that_takes_no_writes_for_now(tmp_path, how):
    with redis_server(tmp_path) as redis:
        async with receiver(settings(redis.url)) as client, Redis.from_url(redis.url) as other:
            assert await accepted(client)
            for name, value in how.items():
                await other.config_set(name, value)
            assert_unavailable(await client.deliver())
            for name in how:
                await other.config_set(name, 0)
            await eventually(lambda: accepted(client), within=1.5)


async def test_refusals_are_noted_again_after_a_time_without_memory(redis_url, redis, publish, installation_key):
    await publish("one", Credential(1, "t"))
    async with receiver(settings(redis_url, installation_key=installation_key)) as client:
        await eventually(lambda: accepted(client, hook_id="one", token="t"))
        failures = REGISTRY.get_sample_value("gitpulse_note_failures_total")
        await redis.config_set("maxmemory", 1)
        try:
            assert (await client.deliver("one", token="wrong")).status_code == 401

            async def failed():
                return REGISTRY.get_sample_value("gitpulse_note_failures_total") > failures

            await eventually(failed)
        finally:
            await redis.config_set("maxmemory", 0)
        assert (await client.deliver("one", token="wrong")).status_code == 401
        await eventually(lambda: redis.hget(feedback_key("one"), "refused"))


async def test_connections_that_are_cut_and_cut_again(tmp_path):
    """Each delivery is answered, and each that is answered 200 is stored; those that were cut off may be, too."""
    with redis_server(tmp_path) as redis:
        proxy = Proxy(redis.port)
        async with proxy.listening() as port, receiver(settings(f"redis://127.0.0.1:{port}/0")) as client:
            assert await accepted(client)
            statuses, done = {}, asyncio.Event()

            async def deliver(sender):
                number = 0
                while not done.is_set():
                    name = f"{sender}-{number}"
                    statuses[name] = (await client.deliver(name=name)).status_code
                    number += 1

            senders = [asyncio.create_task(deliver(i)) for i in range(8)]

            cut_at = -1

            async def cut_off():
                # Once something was stored since the last cut: the poll may be faster than the receiver reconnects.
                nonlocal cut_at
                answered = list(statuses.values())
                if (stored := answered.count(200)) > cut_at:
                    cut_at = stored
                    proxy.cut()
                return stored and answered.count(503) > 20

            await eventually(cut_off, within=20)
            done.set()
            await asyncio.gather(*senders)
            assert set(statuses.values()) == {200, 503}
            await eventually(lambda: accepted(client), within=1.5)
        async with Redis.from_url(redis.url) as other:
            entries = [f[b"entry"] for p in range(16) for _, f in await other.xrange(stream(p))]
        names = [decode(entry).delivery_id for entry in entries]
        assert {name for name, status in statuses.items() if status == 200} <= set(names)
        assert len(names) == len(set(names))


async def test_a_name_that_leads_to_a_replica_and_then_to_the_master(tmp_path):
    """As after a failover of a managed Redis: connections to the old master stay, and would stay read-only for ever."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with redis_server(tmp_path / "one") as one, redis_server(tmp_path / "two") as two:
        proxy = Proxy(one.port)
        async with proxy.listening() as port, receiver(settings(f"redis://127.0.0.1:{port}/0")) as client:
            assert await accepted(client)
            proxy.port = two.port
            async with Redis.from_url(one.url) as old:
                await old.replicaof("127.0.0.1", two.port)
            assert_unavailable(await client.deliver())
            await eventually(lambda: accepted(client), within=1.5)


async def test_redis_behind_tls(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.server("redis")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    (tmp_path / "data").mkdir()
    with redis_server(tmp_path / "data") as redis:
        async with Proxy(redis.port).listening(as_server=tls) as port:
            url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.certificate}"
            async with receiver(settings(url)) as client:
                assert await accepted(client)
            async with receiver(settings(f"rediss://127.0.0.1:{port}/0")) as client:
                assert_unavailable(await client.deliver())


async def test_a_receiver_that_cannot_follow_a_rotation_takes_both_secrets(
    redis_url, redis, publish, installation_key, caplog
):
    async with receiver(settings(redis_url, installation_key=installation_key)) as client:
        await publish("one", Credential(2, "new"), Credential(1, "old"))
        await eventually(lambda: accepted(client, hook_id="one", token="old"))
        await redis.delete(DIRECTORY_CHANGES)
        await redis.set(DIRECTORY_CHANGES, "no stream")

        async def lost():
            return "the directory of hooks cannot be read" in caplog.text

        await eventually(lost)
        await redis.hset(DIRECTORY, "one", seal(installation_key, Route("one", "", "", (Credential(2, "new"),))))
        assert await accepted(client, hook_id="one", token="old")
        assert await accepted(client, hook_id="one", token="new")
        await redis.delete(DIRECTORY_CHANGES)
        await publish("one", Credential(2, "new"))
        await eventually(lambda: refused_for_good(client, "old"))
        assert await accepted(client, hook_id="one", token="new")


async def refused_for_good(client, token):
    return (await client.deliver("one", token=token)).status_code == 401
