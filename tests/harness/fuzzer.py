"""Runs the fuzzer in a process of its own, which libFuzzer ends as it likes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SHELL = ("sh", "-c", '"$@"; exit $?', "sh")
"""Starts what follows as its child, and does not become it."""


class Found(AssertionError):
    """A case that fails; the text is the end of what the fuzzer said."""


def fuzz(target: str, cases: int, folder: Path) -> dict[str, float]:
    """Fuzzes `app` or `pure`; see `harness.fuzzing`. Returns `cases`, `seconds`, `rss_growth_mib`. Raises Found.

    The case that fails is kept in the folder as `<target>-crash-…`.
    """
    figures, log = folder / f"{target}.json", folder / f"{target}.log"
    figures.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "harness.fuzzing", target, str(cases), figures]
    argv += [f"-artifact_prefix={folder}/{target}-", "-len_control=0", "-max_len=1000", "-rss_limit_mb=1024"]
    with log.open("wb") as output:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        # By way of a shell: Linux counts towards a program's peak of memory what the one was using that started it.
        subprocess.run([*SHELL, *argv], env=environment, stdout=output, stderr=output, check=False)
    if not figures.exists():
        raise Found(log.read_text(errors="replace")[-4000:])
    found: dict[str, float] = json.loads(figures.read_text())
    return found
