"""Whether two things take equally long, decided as a stranger with a stopwatch would.

Both are timed in pairs, in random order, so that whatever else the machine does falls on either alike. The signs of the
pairs' differences decide, not their sizes: a machine that stands still for a moment moves no sign.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

ALARM = 5.2
"""Standard deviations: a false alarm in five million tests."""
SURE = 2.33
"""Standard deviations: found 99 times in a hundred."""


@dataclass(frozen=True)
class Comparison:
    """What came out of it; times in microseconds."""

    median: float
    """Of the differences: how much longer the first one takes."""
    finds: float
    """The smallest difference that this number of pairs, on this machine, would show with a probability of 99 %."""
    differ: bool
    """Whether the median lies beyond the margin, either way."""


def compare(one: Callable[[], object], other: Callable[[], object], *, pairs: int, margin: float) -> Comparison:
    """Times both. `margin`, in microseconds: what a stranger could not make use of."""
    differences = sorted(_differences(one, other, pairs))
    width = ALARM + SURE
    beyond = differences[min(pairs - 1, int(pairs / 2 + width * sqrt(pairs) / 2))] - differences[pairs // 2]
    return Comparison(
        differences[pairs // 2] / 1000,
        margin + beyond / 1000,
        _most(differences, margin) or _most([-d for d in differences], margin),
    )


def _differences(one: Callable[[], object], other: Callable[[], object], pairs: int) -> list[int]:
    """Nanoseconds by which the first takes longer, pair by pair."""
    found = []
    for _ in range(pairs):
        first, second, sign = (one, other, 1) if random.random() < 0.5 else (other, one, -1)
        began = time.perf_counter_ns()
        first()
        between = time.perf_counter_ns()
        second()
        found.append(sign * (2 * between - began - time.perf_counter_ns()))
    return found


def _most(differences: Sequence[int], margin: float) -> bool:
    """Whether so many lie above the margin that the median cannot be within it."""
    above = sum(d > margin * 1000 for d in differences)
    return (above - len(differences) / 2) / (sqrt(len(differences)) / 2) > ALARM
