"""Deliveries as the receiver stores them: recorded in `tests/samples/<event>/`, or made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gitpulse_service.events.envelope import Envelope

FOLDER = Path(__file__).parents[1] / "samples"
INSTANCE = "https://gitlab.example.com"


def body(name: str) -> dict[str, Any]:
    """A sample's body by `<event>/<file>`, without `.json`."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def envelope(
    content: dict[str, Any] | bytes,
    *,
    delivery_id: str = "delivery-1",
    hook_id: str = "hook-1",
    event: str = "",
    instance: str = INSTANCE,
    received_at: int = 1_769_900_000_000,
) -> Envelope:
    """A stored delivery of this body."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Envelope(hook_id, delivery_id, event, instance, 1, received_at, raw)
