"""How fast one receiver process on one core accepts, beside two rivals in the same run.

(a) `guide`: the plain handler of tutorials; (b) `bare`: a bare ASGI function that calls the same Redis script once a
request; (c) ours, the whole contract. The server has core 0, the load and Redis share core 1. All figures are ratios or
promises; absolute rates are those of the machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import redis as redis_client

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench._load import Load, requests

from gitpulse_service.log.redis_log import stream
from harness.processes import answers, free_port, running
from harness.redis import redis_server

GOALS = {
    "ours_vs_guide": ">= 5",
    "ours_vs_bare": ">= 1.8",
    "p99_ms_at_217": "<= 5",
    "burst_13000_s": "<= 10",
    "lost": "== 0",
}
TOKEN = "bench-token"
OURS = """
import sys
from gitpulse_service.receiver import server
from gitpulse_service.settings import ServiceSettings
server.run(ServiceSettings.load(), port=int(sys.argv[1]), metrics_port=None)
"""
UVICORN = ["-m", "uvicorn", "--factory", "--no-access-log", "--log-level", "warning"]
SERVERS = {
    "guide": lambda port: [*UVICORN, "bench._rivals:plain", "--port", str(port)],
    "bare": lambda port: [*UVICORN, "bench._rivals:bare", "--port", str(port)],
    "ours": lambda port: ["-c", OURS, str(port)],
}
ROUNDS = 3
CONNECTIONS = 64
PER_NAMESPACE = 217
"""Deliveries a second: the most that one gitlab.com namespace sends."""


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Measures `n` deliveries a round and rival (4,000 by default), then the paced run and the burst."""
    os.sched_setaffinity(0, {1})  # inherited by Redis; the servers are put on core 0
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis:
        bench = _Bench(Path(folder), redis.url)
        for number in range(ROUNDS):
            for name in SERVERS:
                load, _ = bench.measure(name, Load(requests(TOKEN, f"{name}{number}"), n or 4000, CONNECTIONS))
                rates[name].append(load.per_second())
                say(f"round {number + 1} of {ROUNDS}: {name} {load.per_second():,.0f}/s")
        paced, lost_paced = bench.measure(
            "ours", Load(requests(TOKEN, "paced"), PER_NAMESPACE * 5, CONNECTIONS, rate=PER_NAMESPACE)
        )
        say(f"{PER_NAMESPACE}/s: p99 {paced.p99_ms():.1f} ms")
        burst, lost_burst = bench.measure("ours", Load(requests(TOKEN, "burst"), 13_000, 1_000))
        say(f"13,000 at once: {burst.seconds:.1f} s, slowest {max(burst.took):.1f} s")
    ours, guide, bare = (statistics.median(rates[name]) for name in ("ours", "guide", "bare"))
    return {
        "ours_per_s": round(ours),
        "guide_per_s": round(guide),
        "bare_per_s": round(bare),
        "ours_vs_guide": round(ours / guide, 2),
        "ours_vs_bare": round(ours / bare, 2),
        "p99_ms_at_217": round(paced.p99_ms(), 2),
        "burst_13000_s": round(burst.seconds, 2),
        "lost": lost_paced + lost_burst,
    }


class _Bench:
    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.redis_url = folder, redis_url

    def measure(self, name: str, load: Load) -> tuple[Load, int]:
        """Runs one load against a fresh server on an empty Redis; also returns how many answered 200 are not stored."""
        port = free_port()
        environment = {"GITPULSE_REDIS_URL": self.redis_url, "GITLAB_WEBHOOK_SECRET": TOKEN}
        argv = ["taskset", "-c", "0", sys.executable, *SERVERS[name](port)]
        with redis_client.Redis.from_url(self.redis_url) as redis:
            redis.flushall()
            with running(argv, log=self.folder / f"{name}.log", env=environment, ready=lambda: answers(port)):
                Load(requests(TOKEN, "warm"), 200, 8).run(port)
                load.run(port)
            stored = sum(redis.xlen(stream(p)) for p in range(16))
        return load, len(load.accepted_ids) + 200 - stored
