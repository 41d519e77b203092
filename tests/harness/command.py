"""The `gitpulse` command in this process: what a person types, and what it prints, in a fraction of a start's time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from gitpulse_cli.main import run
from harness.house import House, reconcile_folder


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> list[list[str]]:
        """The words of each line of standard output."""
        return [line.split() for line in self.out.splitlines()]


class Command:
    """Runs it with arguments, as its entry point would."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, monkeypatch

    def __call__(self, *argv: str | Path, stdin: str = "", **environment: str) -> Done:
        self._capsys.readouterr()
        code = 0
        with self._patch.context() as patch:
            patch.setattr(sys, "argv", ["gitpulse", *map(str, argv)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            patch.setattr(os, "environ", {**os.environ, **environment})  # a copy, which it may add to
            try:
                run()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
        done = Done(code, *self._capsys.readouterr())
        assert "Traceback" not in done.err
        return done

    def json(self, *argv: str | Path) -> Any:
        """What it prints as JSON, which is what it prints as YAML too."""
        done, same = self(*argv, "-o", "json"), self(*argv, "-o", "yaml")
        assert yaml.safe_load(same.out) == json.loads(done.out), same.err
        return json.loads(done.out)


@contextlib.contextmanager
def looked_after(house: House) -> Iterator[None]:
    """An operator that looks at the house's folder again and again, until the block ends."""
    settings, stop = house.write(), threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            asyncio.run(reconcile_folder(settings, [house.manifests], state=house.state))

    thread = threading.Thread(target=look, name="operator", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
