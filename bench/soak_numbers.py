"""Random real histories with accidents on the way; each metric of each project held against git and GitLab's records.

A history is what `gitpulse_sim.wild` makes, on a GitLab of some version between 17.3 and 19.1 that is upgraded and
changes its time zone meanwhile. Deliveries come through a project hook and a group hook, twice, late, in any order, or
not at all; tests and resends among them. Workers complete over REST between all that, and at last fill what was lost.
Truth is `gitpulse_sim.truth`, which shares no code with what it judges.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.oracle import disagreements
from harness.postgres import postgres_server
from harness.redis import redis_server

GOALS = {"disagreements": "== 0"}
HISTORIES = 100
PROCESSES = 2


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Checks `n` histories, each with its own seed, which is shown when it disagrees; every fourth in PostgreSQL."""
    count = n or HISTORIES
    wrong = 0
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_some, seeds) for seeds in _parts(count)]
        for done, part in enumerate(parts, 1):
            found = part.result()
            wrong += len(found)
            for line in found:
                say(line)
            say(f"{done} of {len(parts)} parts, {wrong} disagreements")
    return {"histories": count, "disagreements": wrong}


def _parts(count: int, size: int = 10) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _some(seeds: range) -> list[str]:
    """What is wrong with these, in one process."""
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis, postgres_server() as (url, _):
        for seed in seeds:
            database = f"sqlite:///{folder}/{seed}.db" if seed % 4 else url
            found += [f"seed {seed}: {line}" for line in asyncio.run(disagreements(seed, database, redis.url))]
    return found
