"""Turns at something that many want at once: one after another, with a gap between."""

from __future__ import annotations

from gitpulse_operator.reconcile.resource import Ref

MISSED = 3600.0
"""Seconds after which a turn that nobody took is forgotten, as that of a resource that is gone."""


class Turns:
    """Gives each who comes a time of their own; they take it when they come again after it."""

    def __init__(self) -> None:
        self._given: dict[Ref, float] = {}  # in the order of their times
        self._next = 0.0

    def wait(self, who: Ref, gap: float, *, now: float) -> float:
        """Seconds until this one's turn; 0: it is now, and taken."""
        while self._given and (first := next(iter(self._given))) != who and self._given[first] < now - MISSED:
            del self._given[first]
        if who not in self._given:
            self._given[who] = max(self._next, now)
            self._next = self._given[who] + gap
        if (wait := self._given[who] - now) > 0:
            return wait
        del self._given[who]
        return 0.0
