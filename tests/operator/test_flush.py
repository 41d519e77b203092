"""A Redis that lost everything: receivers say 503 until the operator has, by itself, published all again."""

from __future__ import annotations

import asyncio
import base64
import time
from copy import deepcopy

from gitpulse_operator.agenda import ended
from gitpulse_operator.control import DIRECTORY_CHECK, Control
from gitpulse_service.contract import ACCESSES, DIRECTORY_ACKS
from harness.life import Life
from harness.processes import SCRIPTS, answers, free_port, running
from harness.receiver import client_of, eventually


async def test_a_flushed_redis_is_rebuilt_within_seconds(house, tmp_path):
    port = free_port()
    argv = [SCRIPTS / "gitpulse", "receiver", "--port", port, "--metrics-port", 0]
    environment = {
        "GITPULSE_REDIS_URL": house.redis_url,
        "GITPULSE_INSTALLATION_KEY": base64.b64encode(house.key).decode(),
    }
    house.change(secret={"type": "Token"})
    async with Life.begun(house) as life:
        control = Control(house.write(), life.world)
        jobs = [asyncio.create_task(control._agenda.run())]
        for ref in life.cluster.refs():
            control.seen(deepcopy(life.cluster._bodies[ref]))

        async def idle():
            return not control._agenda.waiting() and not control._agenda._busy

        await eventually(idle)
        ((hook, route),) = house.routes().items()
        house.flush()
        with running(argv, log=tmp_path / "receiver.log", env=environment, ready=lambda: answers(port)):
            async with client_of(port) as client:

                async def status():
                    return (await client.deliver(hook, token=route.credentials[0].token)).status_code

                assert await status() == 503
                jobs.append(asyncio.create_task(control._watch_directory()))
                started = time.monotonic()

                async def accepted():
                    return await status() == 200

                await eventually(accepted, within=DIRECTORY_CHECK + 10)
                assert time.monotonic() - started > DIRECTORY_CHECK / 2, "nobody but the operator's look did it"

                async def granted():
                    return house.redis.hlen(ACCESSES) == 1

                await eventually(granted)
                await ended(*jobs)


async def test_the_look_at_redis_outlives_what_it_cannot_read(house, monkeypatch, caplog):
    monkeypatch.setattr("gitpulse_operator.control.DIRECTORY_CHECK", 0.05)
    async with Life.begun(house) as life:
        control = Control(house.write(), life.world)
        jobs = [asyncio.create_task(job) for job in (control._agenda.run(), control._watch_directory())]
        for ref in life.cluster.refs():
            control.seen(deepcopy(life.cluster._bodies[ref]))

        async def published():
            return house.routes()

        async def stumbled():
            return "a defect of GitPulse" in caplog.text

        await eventually(published)
        house.redis.hset(DIRECTORY_ACKS, "receiver", "no moment")
        await eventually(stumbled)
        house.flush()
        await eventually(published)
        await ended(*jobs)
