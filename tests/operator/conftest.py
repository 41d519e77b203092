"""What the operator's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.house import House
from harness.simulator import Simulator


@pytest.fixture
def house(tmp_path: Path, simulator: Simulator, redis_url: str, installation_key: bytes) -> House:
    """A folder of resources with one project, `website`, not looked after yet."""
    return House(tmp_path, simulator, redis_url, installation_key)
