"""How fast one receiver process on one core accepts, beside two rivals in the same run.

(a) `guide`: the plain handler of tutorials; (b) `bare`: a bare ASGI function that calls the same Redis script once a
request; (c) `webhookd`: Debian's `webhook` daemon, in Go, which checks a token and stores nothing; (d) ours, the whole
contract. The server has core 0, the load and Redis share core 1; rounds are interleaved, and rates are medians. All
figures are ratios or promises; absolute rates are those of the machine. `MEM`: deliveries over which memory is watched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    "ours_vs_webhookd": "> 1",
    "p99_ms_at_217": "<= 5",
    "burst_13000_s": "<= 10",
    "lost": "== 0",
    "cpu_at_217": "<= 0.25",
    "rss_growth_mib": "<= 8",
}
TOKEN = "bench-token"
OURS = """
import sys
from gitpulse_service.receiver import server
from gitpulse_service.settings import ServiceSettings
server.run(ServiceSettings.load(), port=int(sys.argv[1]), metrics_port=None)
"""
UVICORN = [sys.executable, "-m", "uvicorn", "--factory", "--no-access-log", "--log-level", "warning"]
SERVERS = {
    "guide": lambda port: [*UVICORN, "bench._rivals:plain", "--port", str(port)],
    "bare": lambda port: [*UVICORN, "bench._rivals:bare", "--port", str(port)],
    "webhookd": lambda port: [
        "webhook",
        "-hooks",
        "webhookd.json",
        "-urlprefix",
        "api/v1/webhooks",
        "-port",
        str(port),
    ],
    "ours": lambda port: [sys.executable, "-c", OURS, str(port)],
}
WEBHOOKD = {
    "id": "gitlab",
    "execute-command": "",  # it starts nothing: its best case
    "response-message": '{"status":"accepted"}',
    "trigger-rule-mismatch-http-response-code": 401,
    "trigger-rule": {
        "match": {"type": "value", "value": TOKEN, "parameter": {"source": "header", "name": "X-Gitlab-Token"}}
    },
}
ROUNDS = 5
CONNECTIONS = 128
"""With half as many, ours waits for its own answers to come back as new deliveries: a third of its core is idle."""
PER_NAMESPACE = 217
"""Deliveries a second: the most that one gitlab.com namespace sends."""
PACED_SECONDS = 15
MEM = int(os.environ.get("MEM", "30000"))


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Measures `n` deliveries a round and rival (4,000 by default), then the paced run, the burst, and memory."""
    os.sched_setaffinity(0, {1})  # inherited by Redis; the servers are put on core 0
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    costs: dict[str, list[float]] = {name: [] for name in SERVERS}
    if not shutil.which("webhook"):
        del rates["webhookd"]
        say("webhook is not installed, so ours_vs_webhookd is absent: apt-get install webhook")
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis:
        bench = _Bench(Path(folder), redis.url)
        for number in range(ROUNDS):
            for name, values in rates.items():
                measured = bench.measure(name, Load(requests(TOKEN, f"{name}{number}"), n or 4000, CONNECTIONS))
                values.append(measured.load.per_second())
                costs[name].append(measured.cpu_seconds / len(measured.load.took) * 1e6)
                say(f"round {number + 1} of {ROUNDS}: {name} {measured.load.per_second():,.0f}/s")
        paced = bench.measure(
            "ours", Load(requests(TOKEN, "paced"), PER_NAMESPACE * PACED_SECONDS, CONNECTIONS, rate=PER_NAMESPACE)
        )
        say(f"{PER_NAMESPACE}/s: p50 {paced.load.ms(50):.1f} ms, p99 {paced.load.ms(99):.1f} ms")
        burst = bench.measure("ours", Load(requests(TOKEN, "burst"), 13_000, 1_000))
        say(f"13,000 at once: {burst.load.seconds:.1f} s, slowest {max(burst.load.took):.1f} s")
        growth = bench.growth(Load(requests(TOKEN, "memory"), MEM, CONNECTIONS))
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        **{f"{name}_per_s": round(rate) for name, rate in median.items()},
        **{f"{name}_cpu_us": round(statistics.median(costs[name])) for name in rates},
        **{f"ours_vs_{name}": round(median["ours"] / rate, 2) for name, rate in median.items() if name != "ours"},
        "p99_ms_at_217": round(paced.load.ms(99), 2),
        "burst_13000_s": round(burst.load.seconds, 2),
        "lost": paced.lost + burst.lost,
        "p50_ms_at_217": round(paced.load.ms(50), 2),
        "cpu_at_217": round(paced.cpu_seconds / paced.load.seconds, 3),
        "rss_growth_mib": round(growth, 1),
    }


@dataclass
class _Measured:
    load: Load
    lost: int
    """Answered 200, and not stored. Of webhookd, all."""
    cpu_seconds: float
    """The server's, while the load ran."""


class _Bench:
    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.redis_url = folder, redis_url

        (folder / "webhookd.json").write_text(json.dumps([WEBHOOKD]))

    @contextlib.contextmanager
    def serving(self, name: str) -> Iterator[tuple[int, int, redis_client.Redis]]:
        """A fresh server on an empty Redis, warmed with 200 deliveries; yields its port and pid."""
        port = free_port()
        environment = {
            "GITPULSE_REDIS_URL": self.redis_url,
            "GITLAB_WEBHOOK_SECRET": TOKEN,
            "PYTHONPATH": str(Path.cwd()),
        }
        argv, log = ["taskset", "-c", "0", *SERVERS[name](port)], self.folder / f"{name}.log"
        with redis_client.Redis.from_url(self.redis_url) as redis:
            redis.flushall()
            with running(argv, log=log, env=environment, cwd=self.folder, ready=lambda: answers(port)) as process:
                Load(requests(TOKEN, "warm"), 200, 8).run(port)
                yield port, process.pid, redis

    def measure(self, name: str, load: Load) -> _Measured:
        """Runs one load."""
        with self.serving(name) as (port, pid, redis):
            before = _cpu_seconds(pid)
            load.run(port)
            spent = _cpu_seconds(pid) - before
            stored = sum(redis.xlen(stream(p)) for p in range(16))
        return _Measured(load, len(load.accepted_ids) + 200 - stored, spent)

    def growth(self, load: Load) -> float:
        """MiB by which the receiver grows from a fifth of the load on, while somebody empties the log beside it."""
        with self.serving("ours") as (port, pid, redis):
            sizes: list[float] = []
            done = threading.Event()
            total = load.left

            def watch() -> None:
                while not done.wait(0.2):
                    redis.flushdb()
                    if total - load.left >= total / 5:
                        sizes.append(_resident_mib(pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            load.run(port)
            done.set()
            watcher.join()
            return _resident_mib(pid) - sizes[0]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2
