"""Random lives of the operator: edits, faults, strangers, crashes, clocks; `tests/harness/machine.py` has the rules.

`n` sequences, in batches with a seed each. What violates a rule is shown as the shortest sequence that does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.ground import common_ground
from harness.machine import Machine

GOALS = {"violations": "== 0"}
BATCH = 100
STEPS = 20


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """2,000 sequences by default."""
    logging.disable(logging.CRITICAL)  # what the operator says of troubles that we make
    wanted, done, violations = n or 2000, 0, 0
    with common_ground() as ground:
        machine = type("Sequence", (Machine,), {"ground": ground})
        while done < wanted:
            batch = settings(
                max_examples=min(BATCH, wanted - done),
                stateful_step_count=STEPS,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            )
            try:
                run_state_machine_as_test(seed(done)(machine), settings=batch)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the sequence is what one wants to see
                violations += 1
                say("\n".join([f"seed {done}: {type(error).__name__}: {error}", *getattr(error, "__notes__", ())]))
            done += batch.max_examples
            say(f"{done} of {wanted} sequences, {violations} violations")
    return {"sequences": done, "violations": violations}
