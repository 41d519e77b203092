"""Faults of which the operator tells, and what keeps it from its work: see `test_alerts.py`."""

from __future__ import annotations

import signal
from datetime import timedelta
from functools import partial

import pytest
import requests

from gitpulse_sim.faults import Fault
from harness.processes import wait_until
from harness.watched import Terms

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

DAYS = Terms(hour=3)
"""For windows of hours: six are 18 s."""


def give(installation, token):
    installation.place.patch("secret/gitlab-token", {"stringData": {"token": token}})


def test_an_operator_that_is_killed(installation):
    installation.fires("GitPulseOperatorDown", cause=installation.operator.kill, cure=installation.operator.start)


def test_a_budget_that_is_used_up(installation):
    def allow(requests_per_second):
        spec = {"requestsPerSecond": requests_per_second}
        installation.place.patch("gitlabconnection/gitlab", {"spec": spec})

    installation.fires("GitPulseGitLabBudgetLow", cause=lambda: allow(1), cure=lambda: allow(100))


def test_a_gitlab_token_that_is_wrong(installation):
    wrong, right = (partial(give, installation, it) for it in ("glpat-wrong", "demo-token"))
    installation.fires("GitPulseResourcesStalled", cause=wrong, cure=right)


def test_a_gitlab_token_that_ends_tomorrow(installation):
    world = installation.place.simulator.world
    tomorrow = world.clock.now().date() + timedelta(days=1)
    world.add_token(world.user("alice"), "glpat-short", name="short", expires_at=tomorrow)
    short, right = (partial(give, installation, it) for it in ("glpat-short", "demo-token"))
    installation.fires("GitPulseTokenExpiring", "GitPulseTokenAlmostExpired", cause=short, cure=right)


def test_a_gitlab_that_answers_with_errors(installation):
    faults = installation.place.simulator.world.faults
    fail = lambda: faults.append(Fault(status=502, count=-1))  # noqa: E731
    installation.fires("GitPulseGitLabErrors", "GitPulseReconcileErrors", cause=fail, cure=faults.clear)


@pytest.mark.parametrize("terms", [Terms(hour=5)], ids=["fast"])
def test_a_connection_that_is_missing(installation):
    def connect(name):
        installation.place.patch("gitpulseproject/website", {"spec": {"connectionRef": {"name": name}}})

    installation.fires("GitPulseResourcesNotReady", cause=lambda: connect("other"), cure=lambda: connect("gitlab"))


@pytest.mark.parametrize("terms", [DAYS], ids=["fast"])
def test_somebody_who_changes_a_hook_by_hand(installation):
    simulator, (hook,) = installation.place.simulator, installation.place.hooks("website")
    url = f"{simulator.url}/api/v4/projects/{hook.parent_id}/hooks/{hook.id}"

    def edit():
        edited = {"url": hook.url, "push_events": False}
        requests.put(url, json=edited, headers={"private-token": simulator.token}, timeout=10).raise_for_status()
        wait_until(lambda: "push_events" in hook.events, what="the operator puts it right")

    alert = "GitPulseDriftFight"
    installation.fires(alert, cause=lambda: installation.goes_on(alert, edit), cure=lambda: None)


@pytest.mark.parametrize("terms", [DAYS], ids=["fast"])
def test_a_project_that_is_deleted_while_the_token_is_wrong(installation):
    def delete():
        give(installation, "glpat-wrong")
        installation.place.wait("gitlabconnection/gitlab", value="false")
        installation.place.kubectl("delete", "gitpulseproject/website", "--timeout=30s")

    installation.fires("GitPulseHooksLeftBehind", cause=delete, cure=lambda: give(installation, "demo-token"))
    assert installation.place.hooks("website")  # the alert is over by time alone


@pytest.mark.parametrize("terms", [Terms(settings={"GITPULSE_ROTATION_DEADLINE": "15"})], ids=["fast"])
def test_a_receiver_that_does_not_take_a_new_secret(installation):
    receiver = installation.receiver

    def rotate():
        receiver.process.send_signal(signal.SIGSTOP)
        installation.place.kubectl("annotate", "gitpulseproject/website", "gitpulse.io/rotate-requested-at=now")

    def wake():
        receiver.process.send_signal(signal.SIGCONT)

    try:
        installation.fires("GitPulseRotationStuck", cause=rotate, cure=wake)
    finally:
        wake()


@pytest.mark.parametrize("terms", [Terms(hour=5)], ids=["fast"])
def test_a_secret_that_cannot_be_replaced(installation):
    place = installation.place

    def age():
        give(installation, "glpat-wrong")
        place.wait("gitpulseproject/website", value="false")
        # An interval is an hour at least, and the alert waits for two days more: that time has passed says the status.
        old = {"status": {"secret": {"rotatedAt": "2026-01-01T00:00:00Z"}}}
        place.patch("gitpulseproject/website", old, "--subresource=status")

    installation.fires("GitPulseSecretTooOld", cause=age, cure=lambda: give(installation, "demo-token"))
    assert place.get("gitpulseproject/website")["status"]["secret"]["generation"] == 2


@pytest.mark.parametrize(
    "terms", [Terms(settings={"GITPULSE_WORKERS": "1", "GITPULSE_GITLAB_TIMEOUT": "40"})], ids=["one-worker"]
)
def test_a_gitlab_that_keeps_the_only_worker_waiting(installation):
    faults = installation.place.simulator.world.faults
    keep = lambda: faults.append(Fault(delay=30, count=1))  # noqa: E731
    installation.fires("GitPulseReconcileStuck", cause=keep, cure=faults.clear)
