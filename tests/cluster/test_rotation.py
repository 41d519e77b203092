"""A secret is rotated because somebody asked for it with kubectl, under the rights that the operator ships with."""

from __future__ import annotations

import contextlib
import json

import pytest

from harness.processes import SCRIPTS, answers, free_port, running, wait_until

pytestmark = pytest.mark.cluster


def test_a_secret_is_rotated_when_it_is_asked_for(place, operator, tmp_path):
    port = free_port()
    receiver = [SCRIPTS / "gitpulse", "receiver", "--port", str(port), "--metrics-port", "0"]

    def secret() -> dict:
        return place.get("gitpulseproject/website").get("status", {}).get("secret", {})

    def kept() -> set[str]:
        return set(place.get("secret/gitpulse-website")["data"])

    def annotate(what: str) -> None:
        place.kubectl("annotate", "gitpulseproject/website", f"gitpulse.io/{what}-requested-at=now")

    with contextlib.ExitStack() as stack:
        stack.enter_context(operator.running(public_url=f"http://127.0.0.1:{port}"))
        place.apply_examples()
        place.wait("gitpulseproject/website")
        log = tmp_path / "receiver.log"
        stack.enter_context(running(receiver, log=log, ready=lambda: answers(port), env=operator.shared))
        (hook,) = place.hooks("website")
        old = hook.signing_token
        assert (secret()["generation"], secret()["phase"]) == (1, "Stable")

        annotate("rotate")
        wait_until(lambda: secret()["generation"] == 2, what="GitLab to have the new secret")
        assert hook.signing_token != old
        place.simulator.push()
        wait_until(lambda: secret()["phase"] == "Proven", timeout=40, what="the delivery to prove it")
        assert kept() == {"generation-1", "generation-2"}
        assert place.condition("gitpulseproject/website", "SecretCurrent")["reason"] == "Rotating"

        past = {"status": {"secret": {"phaseChangedAt": "2026-01-01T00:00:00Z"}}}
        place.kubectl(
            "patch", "gitpulseproject/website", "--subresource=status", "--type=merge", "-p", json.dumps(past)
        )
        annotate("reconcile")  # the overlap is over
        wait_until(lambda: (secret()["generation"], secret()["phase"]) == (2, "Stable"), what="the end of the overlap")
        assert kept() == {"generation-2"}
        assert not hook.recent_failures
        events = json.loads(place.kubectl("get", "events", "-o", "json"))["items"]
        assert {"RotationBegun", "SecretRotated"} <= {event["reason"] for event in events}
