"""The agenda: each name once, never twice at a time, asked-for before due."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from gitpulse_operator.agenda import Agenda, ended


@contextlib.asynccontextmanager
async def working(agenda: Agenda[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(agenda.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def a_few_turns() -> None:
    """Lets the loop do all that needs no waiting; no clock is asked."""
    for _ in range(20):
        await asyncio.sleep(0)


class Work:
    """Notes what is done; `gate` holds it back."""

    def __init__(self, again: float | None = None) -> None:
        self.done: list[str] = []
        self.asked: list[bool] = []
        self.at_once = 0
        self.most_at_once: dict[str, int] = {}
        self.running: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.progress = asyncio.Event()
        self.again = again

    async def __call__(self, key: str, asked: bool = False) -> float | None:
        self.running[key] = self.running.get(key, 0) + 1
        self.most_at_once[key] = max(self.most_at_once.get(key, 0), self.running[key])
        self.at_once = max(self.at_once, sum(self.running.values()))
        await self.gate.wait()
        await asyncio.sleep(0)
        self.running[key] -= 1
        self.done.append(key)
        self.asked.append(asked)
        self.progress.set()
        return self.again

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.done) < count:
                self.progress.clear()
                await self.progress.wait()


async def test_asked_for_often_done_once():
    agenda = Agenda(work := Work(), workers=2)
    for _ in range(5):
        agenda.put("a")
    async with working(agenda):
        await work.until(1)
        await a_few_turns()
    assert work.done == ["a"]


async def test_asked_for_while_it_runs_it_runs_again_afterwards():
    agenda = Agenda(work := Work(), workers=4)
    work.gate.clear()
    async with working(agenda):
        agenda.put("a")
        await a_few_turns()
        agenda.put("a")
        agenda.put("a")
        await a_few_turns()
        work.gate.set()
        await work.until(2)
    assert work.done == ["a", "a"]
    assert work.most_at_once == {"a": 1}


async def test_no_more_at_a_time_than_workers():
    agenda = Agenda(work := Work(), workers=3)
    work.gate.clear()
    for number in range(10):
        agenda.put(str(number))
    async with working(agenda):
        await a_few_turns()
        assert agenda.waiting() == 7
        work.gate.set()
        await work.until(10)
    assert work.at_once == 3
    assert sorted(work.done) == [str(number) for number in range(10)]


async def test_asked_for_goes_before_due():
    agenda = Agenda(work := Work(), workers=1)
    for number in range(5):
        agenda.put(f"due-{number}", 0.0)
    agenda.put("asked")
    async with working(agenda):
        await work.until(6)
    assert work.done == ["asked", *(f"due-{number}" for number in range(5))]
    assert work.asked == [True] + [False] * 5


async def test_what_is_due_and_then_asked_for_is_done_once_as_asked_for():
    agenda = Agenda(work := Work(), workers=1)
    for delay in (0.0, None, 0.0):
        agenda.put("a", delay)
    async with working(agenda):
        await work.until(1)
        await a_few_turns()
    assert (work.done, work.asked) == (["a"], [True])


async def test_the_earlier_date_counts():
    agenda = Agenda(work := Work(), workers=1)
    async with working(agenda):
        agenda.put("a", 60)
        agenda.put("b", 0.02)
        agenda.put("a", 0.05)
        agenda.put("a", 30)
        await work.until(2)
    assert work.done == ["b", "a"]


async def test_it_comes_back_after_as_long_as_the_work_says():
    agenda = Agenda(work := Work(again=0.01), workers=1)
    async with working(agenda):
        agenda.put("a")
        await work.until(3)
    assert set(work.done) == {"a"}


async def test_dropped_is_not_done():
    agenda = Agenda(work := Work(), workers=1)
    agenda.put("a", 0.01)
    agenda.put("b", 0.02)
    agenda.drop("a")
    async with working(agenda):
        await work.until(1)
    assert work.done == ["b"]


async def test_exclusive_keeps_the_workers_away():
    agenda = Agenda(work := Work(), workers=2)
    async with working(agenda):
        async with agenda.exclusive("a"):
            agenda.put("a")
            agenda.put("b")
            await work.until(1)
            assert work.done == ["b"]
        await work.until(2)
    assert agenda._busy == {}, "nothing is kept of what is done"


async def test_what_somebody_waits_for_is_as_good_as_asked_for():
    agenda = Agenda(work := Work(), workers=2)
    agenda.put("a", 0.0)
    async with working(agenda):
        async with agenda.exclusive("a"):
            await a_few_turns()  # a worker has taken it, and waits
            agenda.put("a")
            await a_few_turns()  # so has the other
        await work.until(2)
    assert work.asked == [True, True]


async def test_of_many_who_want_it_exclusively_one_has_it():
    agenda = Agenda(Work(), workers=1)
    holders: list[int] = []

    async def hold(number: int) -> None:
        async with agenda.exclusive("a"):
            holders.append(number)
            assert len(holders) == 1
            await asyncio.sleep(0)
            holders.remove(number)

    async def comers() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(hold(number))
                await asyncio.sleep(0)

    await comers()
    assert agenda._busy == {}


async def test_a_defect_in_the_work_is_not_silent():
    async def broken(key: str, _: bool) -> float | None:
        raise RuntimeError(key)

    agenda: Agenda[str] = Agenda(broken, workers=1)
    agenda.put("a")
    with pytest.raises(RuntimeError):
        await agenda.run()


@pytest.mark.parametrize("times", [1, 3])
async def test_it_ends_although_the_work_swallows_cancellations(times):
    """As a library does that makes an error of its own of one."""
    swallowed, begun = 0, asyncio.Event()

    async def stubborn(*_: object) -> float | None:
        nonlocal swallowed
        begun.set()
        for _ in range(times):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(2)
            swallowed += 1
        return 0.0 if swallowed < 10 else None

    agenda: Agenda[str] = Agenda(stubborn, workers=2)
    agenda.put("a")
    running = asyncio.create_task(agenda.run())
    await begun.wait()
    began = time.monotonic()
    await ended(running)
    assert time.monotonic() - began < 1
    assert (running.cancelled(), swallowed) == (True, times)
