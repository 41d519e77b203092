"""Runs one suite: `python -m bench bench|soak SUITE [N]`.

A suite is a module of this folder (`receiver`, or `soak_receiver` for a soak) with `GOALS`, what each figure must be,
such as `{"lost": "== 0"}`, and `run(n, say)`, which measures and returns the figures. The last line is
`<suite>: key=value …`; the exit code is 1 when a goal is missed, and 2 when there is no such suite.
"""

from __future__ import annotations

import importlib
import operator
import sys
from pathlib import Path

COMPARE = {"==": operator.eq, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def say(text: str) -> None:
    """Progress, to standard error."""
    print(text, file=sys.stderr, flush=True)


def missed(goals: dict[str, str], figures: dict[str, float]) -> list[str]:
    """The goals that the figures do not meet, each as a line."""
    lines = []
    for name, goal in goals.items():
        sign, bound = goal.split()
        if name not in figures or not COMPARE[sign](figures[name], float(bound)):
            lines.append(f"missed: {name} is {figures.get(name, 'absent')}, the goal is {goal}")
    return lines


def main(kind: str, suite: str, n: int | None) -> int:
    prefix = "soak_" if kind == "soak" else ""
    known = sorted(
        p.stem.removeprefix("soak_")
        for p in Path(__file__).parent.glob("*.py")
        if not p.stem.startswith("_") and p.stem.startswith("soak_") == bool(prefix)
    )
    if suite not in known:
        say(f"make {kind} SUITE=… takes one of: {', '.join(known)}")
        return 2
    module = importlib.import_module(f"bench.{prefix}{suite}")
    figures: dict[str, float] = module.run(n, say)
    failures = missed(module.GOALS, figures)
    for line in failures:
        say(line)
    print(f"{suite}: " + " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in figures.items()))
    return 1 if failures else 0


if __name__ == "__main__":
    kind, suite, n, *_ = [*sys.argv[1:], "", "", ""]
    sys.exit(main(kind, suite, int(n) if n else None))
