"""Kills receiver, Redis and worker at random moments under load: what was answered 200 is counted, exactly once.

`n` rounds of 1,000 deliveries, each program killed twice a round. Redis keeps its append-only file and writes it to
disk with each command (`appendfsync always`); the sender repeats nothing, as GitLab does not.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.casualties import Casualties, Figures

GOALS = {"lost": "== 0", "double": "== 0", "other": "== 0"}
ROUNDS = 10


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Ten rounds by default; what the keys mean is said at `Figures`."""
    return asyncio.run(_run(n or ROUNDS, say))


async def _run(rounds: int, say: Callable[[str], None]) -> dict[str, float]:
    total = Figures()
    with tempfile.TemporaryDirectory() as folder:
        async with Casualties.begun(Path(folder), f"sqlite:///{folder}/store.db") as casualties:
            for number in range(rounds):
                began = time.monotonic()
                figures = await casualties.round(number)
                total += figures
                say(f"round {number + 1} of {rounds}, {time.monotonic() - began:.1f} s: {figures}")
    return {"rounds": rounds, **vars(total)}
