"""What the tests of the command share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.command import Command
from harness.house import House
from harness.patient import Ground, Patient, ground as made
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


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with made(tmp_path_factory.mktemp("ground")) as it:
        yield it


@pytest.fixture
def patient(tmp_path, simulator, ground) -> Iterator[Patient]:
    with Patient.admitted(tmp_path, simulator, ground) as it:
        yield it
