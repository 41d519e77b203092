"""Programs that run beside a command: started anew whenever they end, whatever keeps them from it for a while."""

from __future__ import annotations

import asyncio
import os
import sys

from gitpulse_cli import children
from harness.processes import wait_until


async def test_a_program_that_cannot_be_started_now_is_started_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(children, "FIRST_PAUSE", 0.05)
    (folder := tmp_path / "logs").mkdir()
    log = folder / "log"
    program = children.Program("echo", [sys.executable, "-c", "print('hello')"], None, os.environ, log)
    async with children.kept(program):
        folder.rename(tmp_path / "away")
        await asyncio.to_thread(wait_until, lambda: "No such file" in caplog.text, what="a try that fails")
        folder.mkdir()
        await asyncio.to_thread(wait_until, lambda: log.exists() and log.read_text(), what="a try that does not")
