"""Faults are caused: a real Prometheus that reads the real programs fires the alert, and takes it back afterwards.

These are of receivers, and of what is before and behind them; the others are in `test_alerts_operator.py` and
`test_alerts_worker.py`. `--log-cli-level=info` shows how long each took.
"""

from __future__ import annotations

import base64
import os
import signal

import pytest
import requests

from harness.processes import wait_until
from harness.watched import ALL_READ, Terms

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


def test_a_hook_that_does_not_reach_a_receiver(installation):
    place = installation.place

    def cut_off():
        """A new hook: of one that has just delivered, GitLab's log is not asked for an hour."""
        installation.receiver.kill()
        place.kubectl("delete", "gitpulseproject/website", "--timeout=30s")
        place.apply_examples()
        place.wait("gitpulseproject/website")
        place.simulator.push()
        place.kubectl("annotate", "gitpulseproject/website", "gitpulse.io/reconcile-requested-at=now")

    def join():
        installation.receiver.start()
        place.simulator.push()

    installation.fires("GitPulseHooksUnreachable", cause=cut_off, cure=join)


def test_a_hook_whose_secret_somebody_changes(installation):
    place, (hook,) = installation.place, installation.place.hooks("website")
    login, url = (
        {"private-token": place.simulator.token},
        f"{place.simulator.url}/api/v4/projects/{hook.parent_id}/hooks",
    )

    def change():
        theirs = {"url": hook.url, "signing_token": f"whsec_{base64.b64encode(bytes(32)).decode()}"}
        requests.put(f"{url}/{hook.id}", json=theirs, headers=login, timeout=10).raise_for_status()
        place.simulator.push()

    def delete():
        requests.delete(f"{url}/{hook.id}", headers=login, timeout=10).raise_for_status()
        wait_until(lambda: place.hooks("website"), what="the operator makes it anew")
        place.simulator.push()

    installation.fires("GitPulseDeliveriesRefused", cause=change, cure=delete)


def test_an_operator_whose_other_half_is_missing(installation):
    operator, receiver = installation.operator, installation.receiver

    def halve():
        """A receiver that starts now waits for the other one."""
        operator.stop()
        receiver.stop()
        operator.start(GITPULSE_SHARDS="2")
        receiver.start()

    def make_whole():
        operator.stop()
        operator.start()
        installation.until("max(gitpulse_directory_ready) == 1")
        installation.until(ALL_READ)  # without an operator the alert would be silent too

    installation.fires("GitPulseReceiverNotReady", cause=halve, cure=make_whole)


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
