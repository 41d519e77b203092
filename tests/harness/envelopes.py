"""Deliveries for tests."""

from __future__ import annotations

from gitpulse_service.events.envelope import Envelope


def envelope(delivery_id: str = "one", *, hook_id: str = "hook", generation: int = 1, body: bytes = b"{}") -> Envelope:
    """A push of the year 2026, accepted."""
    return Envelope(
        hook_id, delivery_id, "Push Hook", "https://gitlab.example.com", generation, 1_780_000_000_000, body
    )
