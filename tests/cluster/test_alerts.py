"""Faults are caused: a real Prometheus that reads the real programs fires the alert, and takes it back afterwards.

These are of receivers, and of what is before and behind them; the others are in `test_alerts_operator.py` and
`test_alerts_worker.py`. `--log-cli-level=info` shows how long each took.
"""

from __future__ import annotations

import os
import signal

import pytest
import requests

from harness.watched import Terms

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_a_receiver_that_is_killed(installation):
    def kill():
        installation.receiver.kill()
        for _ in range(5):  # in vain; after four GitLab switches the hook off
            installation.place.simulator.push()

    alerts = "GitPulseReceiverDown", "GitPulseHooksDisabled"
    installation.fires(*alerts, cause=kill, cure=installation.receiver.start)
    (hook,) = installation.place.hooks("website")
    assert hook.recent_failures == 0


# GitLab makes five tests a minute: with a run each second they would be used up while nobody takes them.
@pytest.mark.parametrize("terms", [Terms(settings={"GITPULSE_RESYNC_INTERVAL": "7"})], ids=["fewer-tests"])
def test_a_hook_that_fails_for_weeks(installation):
    simulator, (hook,) = installation.place.simulator, installation.place.hooks("website")
    instance, clock = simulator.world.instance, simulator.world.clock

    def fail():
        installation.receiver.kill()
        while hook.alert_status(instance, clock.now()) != "disabled":  # 40 deliveries in vain
            simulator.push()
            clock.advance(86_400)  # then it tries again

    def come_back():
        clock.advance(60)  # in which GitLab has made as many tests as it does
        installation.receiver.start()

    installation.fires("GitPulseHooksDisabledForGood", cause=fail, cure=come_back)
    assert hook.recent_failures == 0


def test_strangers_with_a_wrong_token(installation):
    url = f"http://127.0.0.1:{installation.receiver.port}/api/v1/webhooks/gitlab"
    alert = "WebhookHighErrorRate"

    def knock():
        for _ in range(5):
            assert requests.post(url, json={}, headers={"x-gitlab-token": "wrong"}, timeout=5).status_code in (401, 429)

    installation.fires(alert, cause=lambda: installation.goes_on(alert, knock), cure=lambda: None)


def test_a_redis_that_says_nothing(installation, redis_process):
    def pause():
        os.kill(redis_process.pid, signal.SIGSTOP)
        installation.place.simulator.push()

    def wake():
        os.kill(redis_process.pid, signal.SIGCONT)

    try:
        installation.fires("GitPulseDeliveriesNotStored", "GitPulseRedisUnavailable", cause=pause, cure=wake)
    finally:
        wake()


@pytest.mark.parametrize("terms", [Terms(minute=0.05, hour=3, thresholds={"GitPulseNoDeliveries": 6})], ids=["fast"])
def test_a_gitlab_that_falls_silent(installation):
    simulator = installation.place.simulator

    def fall_silent():
        simulator.world.instance.silent_mode = True
        simulator.push()

    def speak():
        simulator.world.instance.silent_mode = False
        simulator.push()

    installation.fires("GitPulseNoDeliveries", cause=fall_silent, cure=speak)
