"""Redis stands still for ten seconds under load: all are answered within GitLab's patience, nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time

from gitpulse_service.contract import WEBHOOK_PATH
from harness.event_log import open_log
from harness.receiver import SECRET, eventually, receiver, settings
from harness.redis import redis_server
from harness.sender import PATIENCE, Delivery, Sender

PAUSE = 10
BODY = b'{"object_kind":"push","project":{"id":1},"commits":[]}'


async def test_what_was_answered_200_is_stored_once_and_the_rest_is_503_in_time(tmp_path):
    with redis_server(tmp_path, appendonly=True) as redis:
        async with receiver(settings(redis.url, partitions=1)) as client:
            sender = Sender(client.port)
            over = asyncio.Event()

            def deliveries():
                for number in itertools.count():
                    if over.is_set():
                        return
                    yield Delivery(f"n{number}", WEBHOOK_PATH, SECRET, BODY)

            sending = asyncio.create_task(sender.send(deliveries(), connections=8))
            await _grows(sender, "accepted")
            os.kill(redis.pid, signal.SIGSTOP)
            await asyncio.sleep(PAUSE)
            os.kill(redis.pid, signal.SIGCONT)
            began = time.monotonic()
            await _grows(sender, "accepted")
            assert time.monotonic() - began < 5  # about a second on a machine that is not busy
            over.set()
            await sending
        counts = sender.counts()
        assert set(counts) == {"accepted", "503"}
        assert sender.slowest < PATIENCE - 1
        log, stored = open_log(redis.url, partitions=1), []
        while entries := await log.read(0, consumer="reader", count=500, size=1 << 20):
            stored += [entry.envelope.delivery_id for entry in entries]
            await log.acknowledge(entries)
        await log.aclose()
        assert len(stored) == len(set(stored))
        assert sender.named("accepted") <= set(stored) <= set(sender.outcomes)  # some 503 were stored when it woke


async def _grows(sender, outcome):
    """Waits until some more have had this outcome."""
    already = sender.counts()[outcome]

    async def has_grown():
        return sender.counts()[outcome] >= already + 20

    await eventually(has_grown, within=20)
