"""A Redis that is away, full, read-only or still loading: always one of two errors, soon, and none after it is well."""

import asyncio
import contextlib
import os
import signal
import time

import pytest
from redis.asyncio import Redis

from gitpulse_service.errors import LogFull, LogUnavailable
from gitpulse_service.log.connection import connect, log_errors
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.processes import free_port
from harness.proxy import Proxy
from harness.redis import redis_server


async def each_call(log):
    """One of each method; what it raised."""
    raised = []
    for call in (
        lambda: log.append([envelope()]),
        lambda: log.note_refused("hook", "wrong_token"),
        lambda: log.bury_unread(envelope(), "not_json"),
        lambda: log.read(0, consumer="a", count=1, size=1),
        lambda: log.close_epoch(0),
        log.backlog,
    ):
        try:
            await call()
        except Exception as error:  # noqa: BLE001
            raised.append(type(error))
        else:
            raised.append(None)
    return raised


async def recovered(log):
    """A call's answer once Redis has loaded its files, which it does while it listens."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(LogUnavailable):
                return await log.append([envelope()])


async def test_nobody_listens():
    log = open_log(f"redis://127.0.0.1:{free_port()}/0")
    assert await each_call(log) == [LogUnavailable] * 6
    await log.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        b"-READONLY You can't write against a read only replica.",
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        b"-NOAUTH Authentication required.",
        b"-ERR max number of clients reached",
        b"what is this",
    ],
    ids=lambda reply: reply.split()[0].decode(),
)
async def test_whatever_redis_refuses_with_is_one_error(reply):
    async def refuse(reader, writer):
        with contextlib.suppress(ConnectionError):
            while commands := await reader.read(65536):
                writer.write((reply + b"\r\n") * commands.count(b"\r\n$"))  # at least one for each command
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        log = open_log(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        assert await each_call(log) == [LogUnavailable] * 6
        await log.aclose()


async def test_a_replica_and_a_server_without_memory_refuse_and_recover(redis_url):
    log = open_log(redis_url)
    async with Redis.from_url(redis_url) as redis:
        await redis.config_set("maxmemory", 1)
        try:
            with pytest.raises(LogFull, match="out of memory"):
                await log.append([envelope()])
            with pytest.raises(LogFull, match="out of memory"):
                await log.bury_unread(envelope(), "not_json")  # no script
        finally:
            await redis.config_set("maxmemory", 0)
        await redis.replicaof("127.0.0.1", free_port())
        try:
            with pytest.raises(LogUnavailable):
                await log.append([envelope()])
        finally:
            await redis.replicaof("NO", "ONE")
    assert not (await log.append([envelope()]))[0].duplicate
    await log.aclose()


async def test_a_paused_redis_is_given_up_on_soon(tmp_path):
    with redis_server(tmp_path) as server:
        log = open_log(server.url)
        await log.append([envelope("before")])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(LogUnavailable):
                await log.append([envelope("meanwhile")])
            assert time.monotonic() - started < 3
        finally:
            os.kill(server.pid, signal.SIGCONT)
        receipts = await log.append([envelope("before"), envelope("after")])
        assert [r.duplicate for r in receipts] == [True, False]
        await log.aclose()


async def test_after_a_restart_the_first_call_works_again(tmp_path):
    port = free_port()
    with redis_server(tmp_path, port=port, appendonly=True) as server:
        log = open_log(server.url)
        (first,) = await log.append([envelope()])
    with pytest.raises(LogUnavailable):
        await log.append([envelope()])
    with redis_server(tmp_path, port=port, appendonly=True):
        (again,) = await recovered(log)  # with a script that this server has never seen
        assert again.duplicate
        assert again.job_id == first.job_id
        (entry,) = await log.read(again.partition, consumer="a", count=9, size=9)
        assert entry.job_id == first.job_id
    await log.aclose()


async def test_an_error_never_shows_the_password(tmp_path):
    log = open_log(f"redis://user:hunter2@127.0.0.1:{free_port()}/0")
    with pytest.raises(LogUnavailable) as caught:
        await log.append([envelope()])
    assert "hunter2" not in str(caught.value)
    await log.aclose()


async def test_a_pipeline_whose_answer_never_comes_keeps_no_connection(tmp_path):
    """arq watches a job in one; redis-py gives its connection back only where that is cut, not where it is silent."""
    with redis_server(tmp_path) as redis:
        proxy = Proxy(redis.port)
        async with proxy.listening() as port, connect(f"redis://127.0.0.1:{port}/0", answer_timeout=0.2) as client:
            watching = client.pipeline(transaction=True)

            async def watch():
                with log_errors():
                    async with watching:
                        await watching.watch("job")
                        proxy.passing = False
                        proxy.silence()
                        await watching.exists("job")

            with pytest.raises(LogUnavailable):
                await watch()
            assert watching.connection is None
