"""An installation of which each part is a program of its own, and a real Prometheus with the chart's rules on it.

Its minute is a second: windows and `for` of the rules are a sixtieth, and it looks twice a second instead of twice a
minute. A test in which that is too long, or shorter than what takes its time in the programs, has terms of its own.
"""

from __future__ import annotations

import contextlib
import logging
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import chart
from harness.processes import SCRIPTS, answers, free_port, running, wait_until
from harness.prometheus import Prometheus, prometheus_server

logger = logging.getLogger(__name__)

ALL_READ = "count(count by (component) (gitpulse_build_info)) == 3"


@dataclass(frozen=True)
class Terms:
    """What is other in one test than usual."""

    minute: float = 1.0
    """Seconds that a minute of the rules takes, and an hour."""
    hour: float = 60.0
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"GitPulseBacklogOld": 5})
    """Of alerts that have another one; that of `GitPulseBacklogOld` is a time."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """In the environment of all three programs."""

    def rules(self) -> dict[str, Any]:
        """The chart's, so much faster."""
        rules = chart.alert_rules(rules={name: {"threshold": value} for name, value in self.thresholds.items()})
        for rule in (it for group in rules["groups"] for it in group["rules"]):
            for part in ("expr", "for"):
                rule[part] = re.sub(r"\b(\d+)([mh])\b", self._faster, rule[part])
            rule["expr"] = rule["expr"].replace("3600 *", f"{self.hour:g} *")  # how far a trend is looked ahead
        return rules

    def _faster(self, duration: re.Match[str]) -> str:
        return f"{int(duration[1]) * {'m': self.minute, 'h': self.hour}[duration[2]] * 1000:.0f}ms"


class Program:
    """One of ours, which can be ended and started again."""

    def __init__(self, log: Path, name: str, environment: Mapping[str, str], *options: object, port: int = 0) -> None:
        """`port`: where it answers once it is ready; if that is not where its metrics are."""
        self.metrics = free_port()
        self.port = port or self.metrics
        self.environment = {**environment, "GITPULSE_METRICS_PORT": str(self.metrics)}
        metrics = () if name == "operator" else ("--metrics-port", self.metrics)
        self._argv = [SCRIPTS / "gitpulse", *map(str, (name, *options, *metrics))]
        self._log, self._running = log, contextlib.ExitStack()

    def start(self, **more: str) -> None:
        """`more`: of its environment, in this life."""
        ready = lambda: answers(self.port)  # noqa: E731
        self.process: subprocess.Popen[bytes] = self._running.enter_context(
            running(self._argv, log=self._log, ready=ready, env={**self.environment, **more})
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self._running.close()


@dataclass
class Installation:
    """All of GitPulse, and who watches it."""

    prometheus: Prometheus
    place: Any
    operator: Program
    receiver: Program
    worker: Program

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, folder: Path, place: Any, operator: Program, receiver: Program, worker: Program, terms: Terms
    ) -> Iterator[Installation]:
        """It runs, both projects deliver, and nothing fires."""
        programs = operator, receiver, worker
        targets = [{"targets": [f"127.0.0.1:{it.metrics}" for it in programs]}]
        with contextlib.ExitStack() as stack:
            for each in programs:
                stack.callback(each.stop)
                each.start()
            place.apply_examples()
            for project in ("website", "api"):
                place.wait(f"gitpulseproject/{project}")
                place.simulator.push(project=f"acme/{project}")
            folder.mkdir()
            served = prometheus_server(folder, targets, every="500ms", rules=terms.rules())
            it = cls(stack.enter_context(served), place, *programs)
            it.until(ALL_READ)
            wait_until(lambda: not it.prometheus.firing(), timeout=60, what="nothing fires")
            yield it

    def until(self, expr: str, timeout: float = 60) -> None:
        """Waits until Prometheus says that it is so."""
        wait_until(lambda: self.prometheus.ask(expr)["data"]["result"], timeout=timeout, what=expr)

    def fires(self, *alerts: str, cause: Callable[[], object], cure: Callable[[], object]) -> None:
        """The fault is caused once, all these alerts fire, it is cured, and none does any more."""
        fired: set[str] = set()
        assert not self.prometheus.firing() & set(alerts)
        began = time.monotonic()
        cause()

        def all_have() -> bool:
            for alert in (self.prometheus.firing() & set(alerts)) - fired:
                fired.add(alert)
                logger.info("%s: %.1f s from cause to firing", alert, time.monotonic() - began)
            return fired == set(alerts)

        wait_until(all_have, timeout=90, what=f"{alerts} fire")
        cure()
        began = time.monotonic()
        wait_until(lambda: not self.prometheus.firing() & set(alerts), timeout=90, what=f"{alerts} are over")
        logger.info("%s: over %.1f s after the cure", ", ".join(alerts), time.monotonic() - began)

    def goes_on(self, alert: str, cause: Callable[[], object]) -> None:
        """The cause comes again and again, until the alert fires."""

        def again() -> bool:
            cause()
            return alert in self.prometheus.firing()

        wait_until(again, timeout=60, what=alert)
