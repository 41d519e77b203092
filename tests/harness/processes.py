"""Starts the real programs that tests lean on, waits until they answer, and ends them by pid."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SCRIPTS = Path(sys.executable).parent
"""Where the virtual environment's programs are: `gitpulse`, `kopf`, `uvicorn`, `arq`, `kubectl`."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on at the moment.

    It lies below those that the system gives to connections, so that none of them takes it before it is used.
    """
    while True:
        port = 12_000 + secrets.randbelow(18_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(condition: Callable[[], T], *, timeout: float = 20, what: str = "condition") -> T:
    """Polls until the condition is truthy, and returns its value. Raises AssertionError naming what was awaited."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], object],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 30,
    grace: float = 10,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program until the block ends; its output goes to `log`, which is shown when it does not become ready.

    `grace`: seconds it is given to end by itself; 0 for a program whose data nobody will look at again.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(a) for a in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
    try:
        wait_until(lambda: process.poll() is not None or ready(), timeout=timeout, what=f"{argv[0]} ready")
        if process.poll() is not None:
            raise AssertionError(f"{argv[0]} ended with {process.returncode}")
        yield process
    except AssertionError as error:
        error.add_note(f"--- the end of {log}\n{log.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        stop(process, grace=grace)


def stop(process: subprocess.Popen[bytes], *, grace: float = 10) -> None:
    """Ends one process that we started: politely, then for good."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
        try:
            process.wait(grace or None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
