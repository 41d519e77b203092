"""Faults are caused: a real Prometheus that reads the real programs fires the alert, and takes it back afterwards.

A minute is a second here: windows and `for` of the chart's rules are a sixtieth, and Prometheus looks twice a second
instead of twice a minute. `--log-cli-level=info` shows how long each took.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from harness import chart
from harness.processes import SCRIPTS, answers, free_port, running, wait_until
from harness.prometheus import Prometheus, prometheus_server

logger = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def rules_in_seconds() -> dict[str, Any]:
    """The chart's rules, sixty times as fast."""
    rules = chart.alert_rules()
    for rule in (it for group in rules["groups"] for it in group["rules"]):
        for part in ("expr", "for"):
            rule[part] = re.sub(r"\b(\d+)([mh])\b", lambda it: it[1] + {"m": "s", "h": "m"}[it[2]], rule[part])
    return rules


class Program:
    """One of ours, which can be ended and started again."""

    def __init__(self, folder: Path, name: str, port: int, environment: dict[str, str], *options: object) -> None:
        self.name, self.port, self.metrics = name, port, free_port()
        self._argv = [SCRIPTS / "gitpulse", name, *map(str, options), "--metrics-port", str(self.metrics)]
        self._environment, self._log = environment, folder / f"{name}.log"
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        ready = lambda: answers(self.port or self.metrics)  # noqa: E731
        self._process = self._running.enter_context(
            running(self._argv, log=self._log, ready=ready, env=self._environment)
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._running.close()


class Installation:
    """All of GitPulse, each part a program of its own, and who watches it."""

    def __init__(self, prometheus: Prometheus, place: Any, receiver: Program, worker: Program) -> None:
        self.prometheus, self.place, self.receiver, self.worker = prometheus, place, receiver, worker

    def fires(self, *alerts: str, cause: Callable[[], object], cure: Callable[[], object]) -> None:
        """The fault is caused once, all these alerts fire, it is cured, and none does any more."""
        assert not self.prometheus.firing() & set(alerts)
        began = time.monotonic()
        cause()
        for alert in alerts:
            wait_until(lambda it=alert: it in self.prometheus.firing(), timeout=90, what=f"{alert} fires")
            logger.info("%s: %.1f s from cause to firing", alert, time.monotonic() - began)
        cure()
        wait_until(lambda: not self.prometheus.firing() & set(alerts), timeout=90, what=f"{alerts} are over")

    def budget(self, requests_per_second: int) -> None:
        self.place.patch("gitlabconnection/gitlab", {"spec": {"requestsPerSecond": requests_per_second}})

    def token(self, value: str) -> None:
        self.place.patch("secret/gitlab-token", {"stringData": {"token": value}})


@pytest.fixture
def installation(place, operator, tmp_path) -> Iterator[Installation]:
    """It runs, both projects deliver, and nothing fires."""
    place.simulator.world.instance.auto_disabling = True
    port, metrics = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**operator.shared, "GITPULSE_DATABASE_URL": f"sqlite:///{tmp_path / 'gitpulse.db'}"}
    receiver = Program(tmp_path, "receiver", port, environment, "--port", port)
    worker = Program(tmp_path, "worker", 0, environment, "--host", "127.0.0.1")
    settings = {
        "GITPULSE_PUBLIC_URL": url,
        "GITPULSE_METRICS_PORT": str(metrics),
        "GITPULSE_RESYNC_INTERVAL": "1",
        "GITPULSE_BACKFILL_DAYS": "0",
    }
    targets = [{"targets": [f"127.0.0.1:{it}" for it in (receiver.metrics, worker.metrics, metrics)]}]
    with contextlib.ExitStack() as stack:
        stack.enter_context(operator.one_of_many(place.namespace, **settings))
        for each in (receiver, worker):
            each.start()
            stack.callback(each.stop)
        place.apply_examples()
        for project in ("website", "api"):
            place.wait(f"gitpulseproject/{project}")
            place.simulator.push(project=f"acme/{project}")
        folder = tmp_path / "prometheus"
        folder.mkdir()
        prometheus = stack.enter_context(prometheus_server(folder, targets, every="500ms", rules=rules_in_seconds()))
        it = Installation(prometheus, place, receiver, worker)
        seen = "count by (component) (gitpulse_build_info)"
        wait_until(lambda: len(prometheus.ask(seen)["data"]["result"]) == 3, what="all three are read")
        wait_until(lambda: not prometheus.firing(), timeout=60, what="nothing fires")
        yield it


def test_a_receiver_that_is_killed(installation):
    def kill():
        installation.receiver.kill()
        for _ in range(5):  # in vain; after four GitLab switches the hook off
            installation.place.simulator.push()

    alerts = "GitPulseReceiverDown", "GitPulseHooksDisabled"
    installation.fires(*alerts, cause=kill, cure=installation.receiver.start)
    (hook,) = installation.place.hooks("website")
    assert hook.recent_failures == 0


def test_a_worker_that_is_stopped(installation):
    def stop():
        installation.worker.stop()
        installation.place.simulator.push()

    alerts = "GitPulseWorkerDown", "GitPulseNothingCounted"
    installation.fires(*alerts, cause=stop, cure=installation.worker.start)


def test_strangers_with_a_wrong_token(installation):
    url = f"http://127.0.0.1:{installation.receiver.port}/api/v1/webhooks/gitlab"
    alert = "WebhookHighErrorRate"

    def knock():
        for _ in range(5):
            assert requests.post(url, json={}, headers={"x-gitlab-token": "wrong"}, timeout=5).status_code in (401, 429)
        return alert in installation.prometheus.firing()

    installation.fires(alert, cause=lambda: wait_until(knock, timeout=60, what=alert), cure=lambda: None)


def test_a_redis_that_says_nothing(installation, redis_process):
    def pause():
        os.kill(redis_process.pid, signal.SIGSTOP)

    def wake():
        os.kill(redis_process.pid, signal.SIGCONT)

    try:
        installation.fires("GitPulseRedisUnavailable", cause=pause, cure=wake)
    finally:
        wake()


def test_a_budget_that_is_used_up(installation):
    less, enough = (lambda: installation.budget(1)), (lambda: installation.budget(100))
    installation.fires("GitPulseGitLabBudgetLow", cause=less, cure=enough)


def test_a_gitlab_token_that_is_wrong(installation):
    wrong, right = (lambda: installation.token("glpat-wrong")), (lambda: installation.token("demo-token"))
    installation.fires("GitPulseResourcesStalled", cause=wrong, cure=right)
