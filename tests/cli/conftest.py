"""What the tests of the command share."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.command import Command
from harness.house import House
from harness.simulator import Simulator


@pytest.fixture
def gitpulse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in ("GITPULSE_REDIS_URL", "GITPULSE_WATCH_NAMESPACES"):
        monkeypatch.delenv(name, raising=False)
    return Command(capsys, monkeypatch)


@pytest.fixture
def house(tmp_path: Path, simulator: Simulator, redis_url: str, installation_key: bytes) -> House:
    """A folder of resources with one project, `website`, not looked after yet; commands find its state."""
    house = House(tmp_path, simulator, redis_url, installation_key)
    house.state = house.manifests / ".gitpulse" / "state.json"
    return house
