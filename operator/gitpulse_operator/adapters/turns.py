"""Turns at what GitLab allows a few times a minute of each project or group: tests and resends.

Who finds none free is promised a later one, and keeps it: first come, first served. It does no IO and tells no time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable

A_MINUTE = 5
"""https://docs.gitlab.com/api/project_webhooks/#trigger-a-test-project-webhook"""
PERIOD = 61.0
"""Seconds in which so many are taken; a little more than GitLab's minute, for the way there."""


class _Newest:
    """The newest so many times at which turns are promised, or were taken."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=A_MINUTE)

    def free(self, now: float) -> float:
        """When there is room for one more."""
        return max(now, self._times[0] + PERIOD) if len(self._times) == A_MINUTE else now

    def add(self, time: float) -> None:
        self._times.append(time)

    def fill(self, time: float) -> None:
        self._times.extend([time] * A_MINUTE)


class Turns:
    """All times in seconds of one clock."""

    def __init__(self) -> None:
        self._planned: defaultdict[Hashable, _Newest] = defaultdict(_Newest)
        self._taken: defaultdict[Hashable, _Newest] = defaultdict(_Newest)
        self._promised: dict[tuple[Hashable, Hashable], float] = {}

    def take(self, parent: Hashable, who: Hashable, now: float) -> float:
        """0: it is your turn. Else in how many seconds it will be; come again then."""
        at = self._promised.pop((parent, who), None)
        if at is None or now > at + PERIOD:  # none, or one that was let pass
            at = self._planned[parent].free(now)
            self._planned[parent].add(at)
        at = max(at, self._taken[parent].free(now))  # somebody before may have come late
        if at > now:
            self._promised[parent, who] = at
            return at - now
        self._taken[parent].add(now)
        return 0.0

    def exhaust(self, parent: Hashable, now: float, wait: float | None) -> float:
        """GitLab says that there was none after all: somebody else took it. Returns the seconds until the next."""
        pause = PERIOD if wait is None else wait
        for times in (self._planned[parent], self._taken[parent]):
            times.fill(now + pause - PERIOD)
        return pause
