"""What the operator's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client

from harness.cluster import Cluster, operator_account
from harness.controlplane import ControlPlane
from harness.house import House
from harness.simulator import Simulator


@pytest.fixture
def house(tmp_path: Path, simulator: Simulator, redis_url: str, installation_key: bytes) -> House:
    """A folder of resources with one project, `website`, not looked after yet."""
    return House(tmp_path, simulator, redis_url, installation_key)


@pytest.fixture(scope="module")
def account(control_plane: ControlPlane) -> Path:
    return operator_account(control_plane)


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_client.Redis]:
    with redis_client.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def cluster(
    control_plane: ControlPlane,
    account: Path,
    simulator: Simulator,
    redis_url: str,
    installation_key: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(account))
    return Cluster(control_plane, simulator, redis_url, installation_key)
