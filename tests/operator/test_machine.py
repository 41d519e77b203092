"""Random lives of an operator, a few of them; `make soak SUITE=operator` and `SUITE=rotation` take their time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from harness.ground import common_ground
from harness.machine import Machine

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_whatever_happens_it_ends_well():
    with common_ground() as ground:
        machine = type("Sequence", (Machine,), {"ground": ground})
        few = settings(max_examples=40, stateful_step_count=20, derandomize=True, database=None)
        run_state_machine_as_test(machine, settings=few)


@pytest.mark.timeout(300)
def test_no_delivery_is_refused_while_everything_dies():
    argv = [sys.executable, "-m", "bench", "soak", "rotation", "2"]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "refused=0 lost=0 uncounted=0" in done.stdout
