"""A real nginx and a real Caddy, each before a tap before a real receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness.front import Front, Tap, caddy, nginx
from harness.receiver import serving, settings
from harness.redis import RedisServer


@pytest.fixture(scope="package")
def receiver_port(redis_process: RedisServer) -> Iterator[int]:
    """A receiver of the hook made by hand, with a plain token."""
    with serving(settings(redis_process.url)) as port:
        yield port


@pytest.fixture
async def tap(receiver_port: int, redis_url: str) -> AsyncIterator[Tap]:
    """On the way to the receiver, whose Redis is empty."""
    async with Tap(receiver_port).serving() as tap:
        yield tap


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def front(request: pytest.FixtureRequest, tap: Tap, tmp_path: Path) -> Iterator[Front]:
    """Before the tap."""
    with request.param(tmp_path, tap.port) as front:
        yield front
