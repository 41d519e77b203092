"""What is asked of the store once for all who want it at the same time, and for a while after."""

from __future__ import annotations

import asyncio

import pytest

from gitpulse_service.metrics_api import Hub, Parts, caller
from harness.query_api import silence


class Store:
    """Answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        await self.let.wait()
        return self.asked


@pytest.fixture
def parts(engine):
    return Parts(engine, False, Hub(silence))


async def asking(parts, store, count=1):
    """So many who wait for it."""
    tasks = [asyncio.create_task(parts.remember("it", store.ask)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_those_who_come_together_ask_once(parts):
    store = Store()
    tasks = await asking(parts, store, 5)
    store.let.set()
    assert await asyncio.gather(*tasks) == [1] * 5
    assert await parts.remember("it", store.ask) == 1


async def test_who_goes_away_takes_nothing_from_the_others(parts):
    store = Store()
    first, second = await asking(parts, store, 2)
    first.cancel()
    store.let.set()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_is_told_to_all_and_not_remembered(parts):
    async def fail():
        raise OSError

    for _ in range(2):
        failed = await asyncio.gather(*(parts.remember("it", fail) for _ in range(2)), return_exceptions=True)
        assert [type(it) for it in failed] == [OSError, OSError]
    store = Store()
    store.let.set()
    assert await parts.remember("it", store.ask) == 1


async def test_it_is_asked_again_after_a_while(parts, monkeypatch):
    store = Store()
    store.let.set()
    assert await parts.remember("it", store.ask) == 1
    monkeypatch.setattr(caller, "KNOWN_FOR", 0.0)
    assert await parts.remember("it", store.ask) == 2
