"""Fixtures that every layer shares: real servers, started once a session, empty for each test."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client
from hypothesis import HealthCheck, settings

from harness.redis import RedisServer, redis_server
from harness.simulator import Simulator, simulator_in, simulator_thread

pytest_plugins = ["harness.controlplane", "harness.schemas"]

# How long an example takes is the machine's business: on a busy one, hypothesis would call that a failure.
settings.register_profile("gitpulse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gitpulse")


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_process: RedisServer) -> str:
    """The session's Redis, emptied."""
    with redis_client.Redis.from_url(redis_process.url) as client:
        client.flushall()
    return redis_process.url


@pytest.fixture
def installation_key() -> bytes:
    return bytes(range(32))


@pytest.fixture
def service_environment(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, installation_key: bytes, tmp_path: Path
) -> dict[str, str]:
    """The environment of a service on this test's Redis and a database of its own; set for this process too."""
    environment = {
        "GITPULSE_REDIS_URL": redis_url,
        "GITPULSE_INSTALLATION_KEY": base64.b64encode(installation_key).decode(),
        "GITPULSE_DATABASE_URL": f"sqlite:///{tmp_path / 'gitpulse.db'}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture(scope="session")
def simulators() -> Iterator[asyncio.AbstractEventLoop]:
    """The thread in which the session's simulators run."""
    with simulator_thread() as loop:
        yield loop


@pytest.fixture
def simulator(simulators: asyncio.AbstractEventLoop) -> Iterator[Simulator]:
    """A GitLab of this test's own: group `acme` with `acme/website` and `acme/api`, token `demo-token`."""
    with simulator_in(simulators) as running:
        yield running
