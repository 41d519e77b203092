"""What the simulator's tests share: the real python-gitlab as client, and a real server that hooks point at."""

from __future__ import annotations

from collections.abc import Iterator

import gitlab
import pytest

from harness.simulator import Simulator
from harness.target import Target, running_target


@pytest.fixture
def gl(simulator: Simulator) -> Iterator[gitlab.Gitlab]:
    """alice, owner of everything."""
    with gitlab.Gitlab(
        simulator.url, private_token=simulator.token, timeout=20, retry_transient_errors=False
    ) as client:
        yield client


@pytest.fixture(scope="session")
def target_server() -> Iterator[Target]:
    with running_target() as target:
        yield target


@pytest.fixture
def target(target_server: Target) -> Target:
    """The session's target, answering 200 at once."""
    target_server.requests = []
    target_server.status, target_server.answer, target_server.delay = 200, b"ok", 0.0
    target_server.answer_headers = {}
    return target_server
