"""A shell that somebody sits before: it keeps variables, folder and programs in the background between commands."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MARK = "@@-done-@@"
GRACE = 20
"""Seconds for programs in the background to end by themselves."""


@dataclass
class Shell:
    """A bash that is told one command after another."""

    process: subprocess.Popen[bytes]
    folder: Path
    number: int = 0

    def run(self, command: str, within: float = 150) -> tuple[int, str]:
        """Runs it with nothing to read: its exit code, and all that it wrote. Raises AssertionError if it hangs."""
        assert self.process.stdin
        self.number += 1
        file = self.folder / f".typed-{self.number}"
        file.write_text(command + "\n")
        self.process.stdin.write(f". {file} </dev/null; printf '\\n{MARK}%s\\n' $?\n".encode())
        self.process.stdin.flush()
        output, deadline = b"", time.monotonic() + within
        while MARK.encode() not in output or not output.endswith(b"\n"):
            more = self._read(deadline - time.monotonic())
            assert more, f"{command}\nhas no end, or ended the shell; it said:\n{output.decode(errors='replace')}"
            output += more
        text, _, code = output.decode(errors="replace").rpartition(f"\n{MARK}")
        return int(code), text

    def _read(self, seconds: float) -> bytes:
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            return os.read(self.process.stdout.fileno(), 65536) if selector.select(max(0, seconds)) else b""


@contextlib.contextmanager
def shell(folder: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """Starts one in this folder; with it end the programs that it has left in the background."""
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Shell(process, folder)
    finally:
        # It ends what it has in the background, and waits: some have children of their own to end.
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError, BrokenPipeError):
            process.communicate(b"kill $(jobs -p) 2>/dev/null; wait\n", timeout=GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
