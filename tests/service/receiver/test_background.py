"""What runs beside the server ends with it."""

import asyncio

from gitpulse_service.receiver.app import _background


async def test_work_that_swallows_a_cancellation_is_ended_all_the_same():
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    async with asyncio.timeout(5), _background(stubborn()):
        await asyncio.sleep(0)
    assert swallowed == 3
