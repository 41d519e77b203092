"""`kubectl wait --for=condition=Delivering`, through a receiver's coming, going and coming back."""

from __future__ import annotations

import contextlib
import urllib.request

import pytest
import redis as redis_client

from gitpulse_service.contract import DIRECTORY_ACKS
from harness.processes import SCRIPTS, free_port, running, wait_until

pytestmark = pytest.mark.cluster


def test_a_hook_is_proven_switched_off_and_revived(place, operator, tmp_path):
    port = free_port()
    place.simulator.world.instance.auto_disabling = True
    receiver = [SCRIPTS / "gitpulse", "receiver", "--port", str(port), "--metrics-port", "0"]

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/ready", timeout=5):
            return True
        return False

    def receiving():
        return running(receiver, log=tmp_path / "receiver.log", ready=answers, env=operator.shared)

    def nobody_receives() -> bool:
        with redis_client.Redis.from_url(operator.redis_url) as directory:
            return not directory.hlen(DIRECTORY_ACKS)

    with operator.running(public_url=f"http://127.0.0.1:{port}"):
        place.apply_examples()
        place.wait("gitpulseproject/website")
        assert place.condition("gitpulseproject/website", "Delivering")["reason"] == "NoDeliveryYet"
        with receiving():
            place.simulator.push()
            place.wait("gitpulseproject/website", "Delivering")  # without waiting for a resync
        wait_until(nobody_receives)
        for _ in range(4):
            place.simulator.push()
        place.kubectl("annotate", "gitpulseproject/website", "gitpulse.io/reconcile-requested-at=now")
        place.wait("gitpulseproject/website", "Delivering", "false")
        assert place.condition("gitpulseproject/website", "Ready")["reason"] == "HookDisabled"
        with receiving():
            place.wait("gitpulseproject/website", "Delivering")
        (hook,) = place.hooks("website")
        assert hook.recent_failures == 0
        events = place.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
        assert {"HookDisabled", "HookRevived"} <= set(events)
