"""The budget of a connection: kept, the most urgent first, and not lost by those who give up."""

from __future__ import annotations

import asyncio
import time

import pytest

from gitpulse_operator.adapters.bucket import LONGEST_WAIT, Bucket
from gitpulse_operator.errors import RateLimited
from gitpulse_operator.priority import Priority, running


async def spent(rate: int) -> Bucket:
    """With nothing left of the second that it may send at once."""
    bucket = Bucket(rate)
    while bucket.left() > 0:
        await bucket.take()
    return bucket


class Callers:
    """Requests that wait, and the order in which they went."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.went: list[str] = []

    async def _take(self, name: str, priority: Priority) -> None:
        with running(priority):
            await self.bucket.take()
        self.went.append(name)

    async def comes(self, name: str, priority: Priority = Priority.DUE) -> asyncio.Task[None]:
        task = asyncio.create_task(self._take(name, priority))
        await asyncio.sleep(0)
        return task


async def test_the_most_urgent_goes_first_then_in_the_order_of_arrival():
    callers = Callers(await spent(50))
    tasks = [
        await callers.comes(name, priority)
        for name, priority in [
            ("due-1", Priority.DUE),
            ("due-2", Priority.DUE),
            ("asked-1", Priority.ASKED),
            ("urgent-1", Priority.URGENT),
            ("asked-2", Priority.ASKED),
            ("urgent-2", Priority.URGENT),
        ]
    ]
    began = time.monotonic()
    await asyncio.gather(*tasks)
    assert callers.went == ["urgent-1", "urgent-2", "asked-1", "asked-2", "due-1", "due-2"]
    assert 0.09 < time.monotonic() - began < 1, "six at 50 a second"


async def test_who_becomes_more_urgent_while_waiting_moves_up():
    callers = Callers(await spent(50))
    tasks = [await callers.comes("due-1")]
    with running(Priority.DUE) as urgency:
        due = asyncio.create_task(callers.bucket.take())
        due.add_done_callback(lambda _: callers.went.append("grown"))
        await asyncio.sleep(0)
    tasks += [await callers.comes("due-2"), await callers.comes("asked", Priority.ASKED)]
    urgency.grow(Priority.URGENT)
    await asyncio.gather(due, *tasks)
    assert callers.went == ["grown", "asked", "due-1", "due-2"]
    assert urgency.grown is None
    urgency.grow(Priority.DUE)
    assert urgency.priority == Priority.URGENT, "it never shrinks"


async def test_who_gives_up_takes_nothing_and_holds_nobody_up():
    callers = Callers(await spent(20))
    tasks = [await callers.comes(str(number)) for number in range(10)]
    began = time.monotonic()
    for task in tasks[:8]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert callers.went == ["8", "9"]
    assert time.monotonic() - began < 0.3, "a twentieth of a second each"


async def test_who_gives_up_just_as_the_turn_comes_gives_it_back():
    callers = Callers(await spent(2))
    first, second = await callers.comes("first"), await callers.comes("second")
    began = callers.bucket._next = time.monotonic()
    callers.bucket._release()
    first.cancel()  # before the task that waits for its turn is resumed
    await asyncio.gather(first, second, return_exceptions=True)
    assert (first.cancelled(), callers.went) == (True, ["second"])
    assert time.monotonic() - began < 0.4, "the turn of the first, not half a second later"


async def test_only_those_ahead_count_for_who_is_sent_away():
    callers = Callers(await spent(2))
    tasks = [await callers.comes(str(number)) for number in range(int(LONGEST_WAIT * 2))]
    with running(Priority.DUE), pytest.raises(RateLimited) as caught:
        await callers.bucket.take()
    assert LONGEST_WAIT < caught.value.retry_after < LONGEST_WAIT + 1
    with running(Priority.ASKED):
        await callers.bucket.take()
    assert callers.went == []
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    tasks.append(await callers.comes("in its place"))
    await asyncio.sleep(0)
    assert not tasks[-1].done()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_break_holds_all():
    callers = Callers(await spent(100))
    tasks = [await callers.comes("due"), await callers.comes("urgent", Priority.URGENT)]
    callers.bucket.pause(0.3)
    began = time.monotonic()
    await asyncio.gather(*tasks, await callers.comes("late", Priority.URGENT))
    assert time.monotonic() - began > 0.29
    assert callers.went == ["urgent", "late", "due"]


async def test_a_long_break_sends_away_who_waits():
    callers = Callers(await spent(2))
    task = await callers.comes("due")
    callers.bucket.pause(None)
    with pytest.raises(RateLimited) as caught:
        await task
    assert 55 < caught.value.retry_after < 60.1


async def test_how_much_is_left():
    bucket = Bucket(10)
    await bucket.take()
    assert 0.85 < bucket.left() <= 1
    for _ in range(5):
        await bucket.take()
    assert 0.35 < bucket.left() < 0.6
    bucket.pause(5)
    assert bucket.left() == 0
