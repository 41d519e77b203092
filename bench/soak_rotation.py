"""Secrets are rotated again and again while GitLab delivers: the operator and receivers are killed, and GitLab is slow.

`n` rotations. What meets a receiver that is down gets no answer, or 503 while it loads: GitLab's log has that, and it
is sent again at the end, as a repair would. (Today a repair begins only after `Delivering` was false, and so short a
gap does not make it that.) Nothing may ever be answered 401, and in the end each delivery is counted, once.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bench.receiver import OURS

from gitpulse_operator.domain.conditions import timestamp
from gitpulse_service.contract import DIRECTORY_ACKS
from gitpulse_service.store.engine import create_engine
from gitpulse_sim.deliver import Event
from gitpulse_sim.faults import Fault
from gitpulse_sim.hook_log import LogRow
from harness.dumps import count
from harness.house import House
from harness.mortal import Killed, Life, run_once
from harness.processes import SCRIPTS, answers, free_port, running, stop, wait_until
from harness.redis import redis_server
from harness.samples import body
from harness.simulator import running_simulator

GOALS = {"refused": "== 0", "lost": "== 0", "uncounted": "== 0"}
ROTATIONS = 50
PER_SECOND = 50
LONGEST_LIFE = 60
"""Steps of an operator; a run of a rotation has about 40."""


class Troubled(Life):
    """An operator's life in which something else happens at a step, and which may end at another."""

    def __init__(self, last: int, at: int, trouble: Callable[[], None]) -> None:
        super().__init__(last)
        self._at, self._trouble = at, trouble

    def step(self, part: object, name: str, *, done: bool) -> None:
        if self.steps == self._at:
            self._trouble()
        super().step(part, name, done=done)


class Receivers:
    """Two: GitLab delivers to the first, the other one must be waited for too. Each may be killed, and is back soon."""

    def __init__(self, house: House, folder: Path, stack: contextlib.ExitStack) -> None:
        self._house, self._folder, self._stack = house, folder, stack
        self.ports = [free_port(), free_port()]
        self._processes = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> Any:
        key = base64.b64encode(self._house.key).decode()
        environment = {"GITPULSE_REDIS_URL": self._house.redis_url, "GITPULSE_INSTALLATION_KEY": key}
        argv = [sys.executable, "-c", OURS, str(port)]
        log = self._folder / "receiver.log"
        return self._stack.enter_context(running(argv, log=log, env=environment, ready=lambda: answers(port)))

    def kill(self, which: int) -> None:
        """At once, and without a word to anybody."""
        self._processes[which].kill()
        self._processes[which].wait()

    def revive(self) -> None:
        """Those that were killed start again; for those that died a minute passes, so that they are not waited for."""
        for which, process in enumerate(self._processes):
            if process.poll() is not None:
                self._house.redis.delete(DIRECTORY_ACKS)  # the living say it again within a second
                self._processes[which] = self._start(self.ports[which])
                wait_until(lambda: self._house.redis.hlen(DIRECTORY_ACKS) == 2, what="both receivers follow")


class Stream:
    """Deliveries without a pause, each another push."""

    def __init__(self, house: House) -> None:
        self._house, self._stop, self.rows = house, asyncio.Event(), list[LogRow]()
        self._sample = body("push/two_commits")
        self._running = asyncio.run_coroutine_threadsafe(self._send_all(), house.simulator.loop)

    async def _send_all(self) -> None:
        sending: list[asyncio.Task[LogRow]] = []
        (hook,) = self._house.hooks()
        while not self._stop.is_set():
            number = len(sending)
            commits = [{**self._sample["commits"][0], "id": f"{number + 1:040x}"}]
            data = {**self._sample, "before": f"{number:040x}", "after": f"{number + 1:040x}", "commits": commits}
            event = Event(toggle="push_events", data=data)
            sending.append(asyncio.create_task(self._house.simulator.forge.engine.send(hook, event)))
            await asyncio.sleep(1 / PER_SECOND)
        self.rows = list(await asyncio.gather(*sending))

    def end(self) -> list[LogRow]:
        """What became of each, once the last is answered."""
        self._house.simulator.loop.call_soon_threadsafe(self._stop.set)
        self._running.result(60)
        return self.rows


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Fifty rotations by default."""
    logging.disable(logging.CRITICAL)
    rotations = n or ROTATIONS
    with _house() as (house, receivers, database):
        asyncio.run(house.run())
        stream = Stream(house)
        deaths = sum(_rotate(house, receivers, number, say) for number in range(2, rotations + 2))
        rows = stream.end()
        accepted = [row for row in rows if row.response_status == "200"]
        failed = [row for row in rows if row.response_status in ("internal error", "503")]
        again = [_resend(house, row) for row in failed]
        refused = sum(row.response_status == "401" for row in [*rows, *again])
        with contextlib.suppress(AssertionError):  # then the figures tell
            wait_until(lambda: _counted(database) >= len(rows), what="counted", timeout=30)
        return {
            "rotations": rotations,
            "operator_killed": deaths,
            "sent": len(rows),
            "accepted": len(accepted),
            "resent": sum(row.response_status == "200" for row in again),
            "counted": _counted(database),
            "refused": refused,
            "lost": len(rows) - len(accepted) - sum(row.response_status == "200" for row in again),
            "uncounted": abs(len(rows) - _counted(database)),
        }


def _rotate(house: House, receivers: Receivers, generation: int, say: Callable[[str], None]) -> int:
    """One rotation, to its end. Returns how many operators it took that did not live to see it."""
    house.annotations["website"] = {"gitpulse.io/rotate-requested-at": str(generation)}
    troubles: list[Callable[[], None]] = [
        lambda: receivers.kill(0),
        lambda: receivers.kill(1),
        lambda: house.simulator.world.faults.append(Fault(delay=0.3, count=3)),
        lambda: house.simulator.world.faults.append(Fault(status=502, count=2)),
    ]
    deaths = 0
    for _ in range(200):
        try:
            trouble = random.choice(troubles)
            asyncio.run(run_once(house, Troubled(random.randint(1, LONGEST_LIFE), random.randint(0, 25), trouble)))
        except Killed:
            deaths += 1
        receivers.revive()
        state = json.loads(house.state.read_text())
        secret = state["GitPulseProject/default/website"]["status"]["secret"]
        if (secret["generation"], secret["phase"]) == (generation, "Stable"):
            say(f"rotation {generation - 1}: {deaths} operators killed")
            return deaths
        if secret["phase"] == "Proven":  # the overlap passes
            secret["phaseChangedAt"] = timestamp(datetime.fromisoformat(secret["phaseChangedAt"]) - timedelta(hours=2))
            house.state.write_text(json.dumps(state))
    raise AssertionError(f"rotation {generation} does not end: {secret}")


def _resend(house: House, row: LogRow) -> LogRow:
    (hook,) = house.hooks()
    event = Event(toggle=row.toggle, data=row.request_data)  # type: ignore[arg-type]
    return house.simulator.run(house.simulator.forge.engine.send(hook, event, key=row.idempotency_key))


def _counted(database: str) -> int:
    async def ask() -> int:
        engine = create_engine(database)
        try:
            return await count(engine, "push")
        finally:
            await engine.dispose()

    return asyncio.run(ask())


@contextlib.contextmanager
def _house() -> Iterator[tuple[House, Receivers, str]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(redis_server(folder))
        house = House(folder / "house", stack.enter_context(running_simulator()), redis.url, bytes(range(32)))
        receivers = Receivers(house, folder, stack)
        house.public_url = f"http://127.0.0.1:{receivers.ports[0]}"
        database, port = f"sqlite:///{folder}/gitpulse.db", free_port()
        environment = {"GITPULSE_REDIS_URL": redis.url, "GITPULSE_DATABASE_URL": database}
        argv = [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(port)]
        worker = running(argv, log=folder / "worker.log", env=environment, ready=lambda: answers(port))
        stack.callback(stop, stack.enter_context(worker))
        yield house, receivers, database
