"""Two operators with one Lease: one works, the other stands by, takes over, and never do both."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest

from harness.processes import free_port, wait_until

pytestmark = pytest.mark.cluster

WEBSITE = "gitpulseproject/website"


@pytest.fixture
def one(place, operator):
    """Runs one of the operators; entered once its liveness endpoint listens."""
    return lambda **more: operator.one_of_many(
        place.namespace, GITPULSE_LEASE=f"gitpulse-system/{place.namespace}", **more
    )


def spec(place):
    found = place.plane.try_kubectl("-n", "gitpulse-system", "get", "lease", place.namespace, "-o", "json")
    return json.loads(found.stdout)["spec"] if found.returncode == 0 else {}


def holder(place):
    return spec(place).get("holderIdentity", "")


def follow(place, *events):
    """An edit arrives, in the one hook that there is."""
    place.patch(WEBSITE, {"spec": {"events": list(events)}})
    wanted = {f"{event.lower()}_events" for event in events}
    wait_until(
        lambda: [hook.events for hook in place.hooks("website")] == [wanted], what="the edit to arrive", timeout=30
    )


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_other_takes_over_when_the_first_ends(place, one, end):
    place.apply_examples()
    with one() as first:
        place.wait(WEBSITE)
        working = holder(place)
        with one() as second:
            assert first.poll() is None
            before = place.hooks("website")
            first.send_signal(end)
            first.wait(15)
            wait_until(
                lambda: holder(place) not in ("", working),
                what="the other to take over",
                timeout=20 if end is signal.SIGKILL else 6,
            )
            follow(place, "Push")
            assert second.poll() is None
    assert place.hooks("website") == before


def test_who_stands_by_answers_probes_and_does_nothing(place, one, operator):
    port = str(free_port())
    broken = {"GITPULSE_REDIS_URL": "redis://127.0.0.1:1/0"}  # it would end if it worked
    with one() as first, one(GITPULSE_LIVENESS_PORT=port, **broken) as second:
        place.apply_examples()
        place.wait(WEBSITE)
        follow(place, "Push")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.status == 200
        works = holder(place)
        for _ in range(2):  # both have tried once more
            before = spec(place)["renewTime"]
            wait_until(lambda before=before: spec(place)["renewTime"] != before, what="a renewal")
        assert holder(place) == works
        assert (first.poll(), second.poll()) == (None, None)
        assert "Redis does not answer" not in operator.log.read_text()


def test_one_that_was_stopped_ends_when_it_goes_on(place, one):
    place.apply_examples()
    with one() as first:
        place.wait(WEBSITE)
        before = place.hooks("website")
        with one():
            first.send_signal(signal.SIGSTOP)
            follow(place, "Push")
            first.send_signal(signal.SIGCONT)
            assert first.wait(10) == 1
            follow(place, "Pipeline")
    assert place.hooks("website") == before
