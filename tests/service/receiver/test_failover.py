"""A Redis behind Sentinel: what was answered 200 outlives its master, and all programs find the new one."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from gitpulse_operator.adapters.directory import RedisDirectory
from gitpulse_operator.errors import DirectoryUnavailable
from gitpulse_service.contract import Credential, Route
from gitpulse_service.log.codec import decode
from gitpulse_service.log.redis_log import stream
from gitpulse_service.worker import main as worker
from harness.receiver import eventually, receiver, settings
from harness.redis import redis_server
from harness.sentinels import OPTIONS, Sentinels, sentinels

ROUTE = Route("hook1", "team/website", "https://gitlab.example.com", (Credential(1, "t0ken"),))


@pytest.fixture
def house(tmp_path):
    with sentinels(tmp_path) as house:
        yield house


class Load:
    """Deliveries one after the other on a few connections, until it is stopped."""

    def __init__(self, client, prefix):
        self.client, self.prefix = client, prefix
        self.answers: list[tuple[int, str, float]] = []
        """Status, name, seconds."""
        self._tasks = [asyncio.create_task(self._send(i)) for i in range(4)]

    async def _send(self, sender):
        number = 0
        while True:
            name, started = f"{self.prefix}-{sender}-{number}", time.monotonic()
            answer = await self.client.deliver("hook1", token="t0ken", name=name)
            self.answers.append((answer.status_code, name, time.monotonic() - started))
            number += 1
            await asyncio.sleep(0.005)

    def count(self, status):
        return sum(found == status for found, _, _ in self.answers)

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert {status for status, _, _ in self.answers} <= {200, 503}
        assert max(seconds for _, _, seconds in self.answers) < 8
        return {name for status, name, _ in self.answers if status == 200}


async def grows(load, status):
    """Until there is another answer like this."""
    before = load.count(status)

    async def more():
        return load.count(status) > before

    await eventually(more, within=40)


def stored(house: Sentinels):
    with house.client() as client:
        return [decode(f[b"entry"]).delivery_id for p in range(16) for _, f in client.xrange(stream(p))]


async def backlog(house):
    return len(await asyncio.to_thread(stored, house))


async def published(directory, route=ROUTE):
    with contextlib.suppress(DirectoryUnavailable):
        await directory.publish(route)
        await directory.mark_complete()
        return True


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")  # arq's, when its worker ends
async def test_a_killed_master_is_followed_by_a_replica_and_nothing_answered_200_is_lost(
    house, tmp_path, installation_key
):
    configured = settings(
        house.url, installation_key=installation_key, database_url=f"sqlite:///{tmp_path / 'gitpulse.db'}"
    )
    directory = RedisDirectory(house.url, installation_key)
    await published(directory)
    async with receiver(configured) as client:
        load = Load(client, "first")
        await grows(load, 200)
        old = house.servers[0]
        os.kill(old.pid, signal.SIGKILL)
        await grows(load, 503)
        await eventually(lambda: asyncio.to_thread(lambda: house.master != old.port), within=40)
        # Sentinel may take more than ten seconds to give the new master its replica, without which it takes no writes.
        await eventually(lambda: published(directory), within=40)
        await grows(load, 200)
        accepted = await load.stop()
        names = await asyncio.to_thread(stored, house)
        assert len(names) == len(set(names))
        assert accepted <= set(names)

        # A worker empties the new master, and outlives a change of masters that nobody's death has caused.
        with redis_server(old.folder, *OPTIONS, "--replicaof", "127.0.0.1", house.master, port=old.port):
            await asyncio.to_thread(house.wait_for_replicas)
            stop = asyncio.Event()
            work = asyncio.create_task(worker.work(configured, metrics_port=None, stop=stop))

            async def empty():
                return not await backlog(house)

            await eventually(empty, within=40)
            before = house.master
            house.change_masters()
            await eventually(lambda: asyncio.to_thread(lambda: house.master != before), within=40)

            async def accepted_again():
                return (await client.deliver("hook1", token="t0ken")).status_code == 200

            await eventually(accepted_again, within=10)
            await eventually(empty, within=40)
            stop.set()
            await work
    await directory.close()
