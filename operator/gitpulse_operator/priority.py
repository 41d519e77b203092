"""How urgent a run is. Its requests to GitLab go before those of runs that are less so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import IntEnum


class Priority(IntEnum):
    """The smaller goes first."""

    URGENT = 0
    """A deletion, and the test that revives a hook or proves its new secret."""
    ASKED = 1
    """Somebody has changed something, or wants to know."""
    DUE = 2
    """Nothing but time has passed, or all resources of a connection are concerned."""


class Urgency:
    """Of one run. It grows when somebody asks for what the run keeps others from doing."""

    def __init__(self, priority: Priority) -> None:
        self.priority = priority
        self.grown: Callable[[Priority], None] | None = None
        """Told of the priority until now, by whoever makes the run wait."""

    def grow(self, priority: Priority) -> None:
        before, self.priority = self.priority, min(self.priority, priority)
        if self.grown and self.priority < before:
            self.grown(before)


_now: ContextVar[Urgency | None] = ContextVar("urgency", default=None)


def current() -> Urgency:
    """That of the run that this is a part of."""
    return _now.get() or Urgency(Priority.ASKED)


@contextlib.contextmanager
def running(priority: Priority) -> Iterator[Urgency]:
    """What happens in this block, and is awaited there, is so urgent."""
    token = _now.set(urgency := Urgency(priority))
    try:
        yield urgency
    finally:
        _now.reset(token)
