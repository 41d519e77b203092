"""The whole way, on real parts: applied with kubectl, pushed with git, counted, and asked for."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from harness.processes import SCRIPTS, free_port, running, wait_until

pytestmark = pytest.mark.cluster


def ask(url: str) -> Any:
    """What a server answers; None if it does not, or not with 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)
    return None


def test_a_push_becomes_a_number(place, operator, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**operator.shared, "GITPULSE_DATABASE_URL": f"sqlite:///{tmp_path / 'gitpulse.db'}"}
    environment["GITPULSE_API_TOKENS_REQUIRED"] = "false"
    receiver = [SCRIPTS / "gitpulse", "receiver", "--port", str(port), "--metrics-port", "0"]
    worker = [SCRIPTS / "gitpulse", "worker", "--metrics-port", "0"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(operator.running(public_url=url))
        place.apply_examples()
        place.wait("gitpulseproject/website")
        ready = f"{url}/api/v1/ready"
        stack.enter_context(running(receiver, log=tmp_path / "receiver.log", ready=lambda: ask(ready), env=environment))
        stack.enter_context(running(worker, log=tmp_path / "worker.log", ready=lambda: True, env=environment))

        place.simulator.push(commits=3)

        def counted() -> int:
            answer = ask(f"{url}/api/v1/metrics/commits?project=acme/website")
            return int(answer["items"][0]["count"]) if answer else 0

        wait_until(lambda: counted() == 3, what="three commits in the summary")
        (hook,) = place.hooks("website")
        assert not hook.dropped
        assert hook.recent_failures == 0
