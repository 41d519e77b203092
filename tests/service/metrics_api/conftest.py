"""The query API over a store with a small company in it, on both databases."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx2
import pytest

from gitpulse_service.store import tokens
from harness import office
from harness.query_api import client_of, problem


@pytest.fixture
async def client(engine) -> AsyncIterator[httpx2.AsyncClient]:
    """Of an API that asks for no tokens."""
    await office.settle(engine)
    async with client_of(engine) as client:
        yield client


@pytest.fixture
async def showing(engine):
    """Makes a client that shows a token for these teams (None: for all), to an API that asks for one."""
    await office.settle(engine)
    async with contextlib.AsyncExitStack() as stack:

        async def make(teams, *, expires_at=None):
            secret = await tokens.create(engine, str(teams), teams, expires_at)
            client = await stack.enter_async_context(client_of(engine, tokens_required=True))
            client.headers["authorization"] = f"Bearer {secret}"
            return client

        yield make


@pytest.fixture
def get(client):
    """Asks, and expects an answer."""

    async def get(path, **parameters):
        answer = await client.get(path, params={name.rstrip("_"): value for name, value in parameters.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


@pytest.fixture
def refused(client):
    """Asks, and expects a problem; its detail."""

    async def refused(status, path, method="GET", headers=None, **parameters):
        params = {name.rstrip("_"): value for name, value in parameters.items()}
        return problem(await client.request(method, path, params=params or None, headers=headers), status)

    return refused
