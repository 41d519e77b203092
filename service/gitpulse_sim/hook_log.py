"""What a hook remembers of its deliveries, e-mail addresses and secrets blacked out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

RETENTION = timedelta(days=7)
KEPT = 1_000
"""Rows a hook keeps in memory; GitLab has no such bound, a developer's machine has."""
INTERNAL_ERROR = "internal error"

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(slots=True, kw_only=True)
class LogRow:
    """One delivery: what was sent, and what came back."""

    id: int
    created_at: datetime
    toggle: str
    trigger: str
    url: str
    """With its placeholders, as the API shows it."""
    target: str
    """As it was called; a resend is refused when the hook's has changed."""
    idempotency_key: str
    request_headers: dict[str, str] = field(default_factory=dict)
    request_data: object = None
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""
    response_status: str = INTERNAL_ERROR
    """The number as text, or `internal error` when there was no answer."""
    execution_duration: float = 0.0
    error: str = ""
    """Why there was no answer."""

    @property
    def status(self) -> int | None:
        return None if self.response_status == INTERNAL_ERROR else int(self.response_status)

    def matches(self, wanted: set[str]) -> bool:
        """Whether this row is among the asked for: numbers, `successful`, `client_failure`, `server_failure`."""
        status = self.status
        if self.response_status in wanted:
            return True
        if status is None or status >= 500:
            return "server_failure" in wanted
        return ("successful" if status < 300 else "client_failure" if status >= 400 else "") in wanted


@dataclass(slots=True)
class HookLog:
    """The rows of one hook, oldest first."""

    rows: deque[LogRow] = field(default_factory=lambda: deque(maxlen=KEPT))

    def newest_first(self, now: datetime) -> Iterator[LogRow]:
        """What the API still shows: seven days."""
        return (row for row in reversed(self.rows) if row.created_at > now - RETENTION)

    def find(self, row_id: int, now: datetime) -> LogRow | None:
        return next((row for row in self.newest_first(now) if row.id == row_id), None)


def redact(value: object) -> object:
    """The same data with every string that is an e-mail address blacked out."""
    if isinstance(value, str):
        return "[REDACTED]" if "@" in value and _EMAIL.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: redact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [redact(inner) for inner in value]
    return value
