"""Kills the receiver at a random moment under load, again and again: what was answered 200 is in the log, exactly once.

`n` rounds of 1,000 deliveries. Redis keeps its append-only file; the sender repeats nothing, as GitLab does not.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import redis as redis_client
from bench._load import Load, requests
from bench.receiver import OURS, TOKEN

from gitpulse_service.log.codec import decode
from gitpulse_service.log.redis_log import stream
from harness.processes import answers, free_port, running, wait_until
from harness.redis import redis_server

GOALS = {"lost": "== 0", "double": "== 0"}
PER_ROUND = 1000


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Ten rounds by default."""
    figures = {"rounds": n or 10, "sent": 0, "accepted": 0, "lost": 0, "double": 0}
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), appendonly=True) as redis:
        for number in range(figures["rounds"]):
            sent, accepted, stored = _round(Path(folder), redis.url, number)
            figures["sent"] += sent
            figures["accepted"] += len(accepted)
            figures["lost"] += len(accepted - set(stored))
            figures["double"] += len(stored) - len(set(stored))
            say(f"round {number + 1} of {figures['rounds']}: {len(accepted)} of {sent} answered 200 before the kill")
    return dict(figures)


def _round(folder: Path, redis_url: str, number: int) -> tuple[int, set[str], list[str]]:
    port = free_port()
    environment = {"GITPULSE_REDIS_URL": redis_url, "GITLAB_WEBHOOK_SECRET": TOKEN}
    argv = [sys.executable, "-c", OURS, str(port)]
    load = Load(requests(TOKEN, f"round{number}"), PER_ROUND, 32)
    with running(argv, log=folder / "receiver.log", env=environment, ready=lambda: answers(port)) as process:
        killer = threading.Thread(target=_kill, args=(process, load, random.randrange(1, PER_ROUND)))
        killer.start()
        load.run(port)
        killer.join()
    with redis_client.Redis.from_url(redis_url) as redis:
        stored = list(_stored(redis))
        redis.flushall()
    return PER_ROUND - load.left, load.accepted_ids, stored


def _kill(process: subprocess.Popen[bytes], load: Load, after: int) -> None:
    wait_until(lambda: len(load.took) >= after, what=f"{after} answers")
    process.kill()


def _stored(redis: redis_client.Redis) -> Iterator[str]:
    for partition in range(16):
        for _, fields in redis.xrange(stream(partition)):
            yield decode(fields[b"entry"]).delivery_id
