"""What a person does with kubectl, and what GitLab has afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis as redis_client

from gitpulse_service import contract
from harness.controlplane import ControlPlane
from harness.processes import wait_until
from harness.simulator import Simulator

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running_operator(operator) -> Iterator[None]:
    with operator.running():
        yield


@pytest.fixture
def ready(place, running_operator):
    """A place where the examples are applied and looked after."""
    place.apply_examples()
    place.wait("gitpulseproject/website")
    place.wait("gitpulseproject/api")
    return place


def test_an_applied_example_has_its_hook(ready, operator):
    (hook,) = ready.hooks("website")
    body = ready.get("gitpulseproject/website")
    identity = contract.hook_id(bytes(range(32)), body["metadata"]["uid"], f"project/{ready.simulator.website.id}")
    assert hook.url == f"https://gitpulse.example.com{contract.WEBHOOK_PATH}/{identity}"
    assert hook.name == f"GitPulse {contract.installation_id(bytes(range(32)))}: {ready.namespace}/website"
    assert hook.events == {"push_events", "merge_requests_events", "note_events", "issues_events", "pipeline_events"}
    assert {"job_events", "deployment_events"} <= ready.hooks("api", "acme/api")[0].events
    assert hook.signing_token
    assert hook.signing_token.startswith("whsec_")

    with redis_client.Redis.from_url(operator.redis_url) as directory:
        sealed = directory.hget(contract.DIRECTORY, identity)
        assert directory.exists(contract.DIRECTORY_SHARDS)
    assert isinstance(sealed, bytes)
    route = contract.unseal(bytes(range(32)), identity, sealed)
    assert (route.resource, route.instance) == (f"{ready.namespace}/website", ready.simulator.url)

    status = body["status"]
    assert status["observedGeneration"] == body["metadata"]["generation"]
    assert status["hookID"] == hook.id
    assert status["target"]["path"] == "acme/website"
    assert ready.condition("gitpulseproject/website", "HookInstalled")["status"] == "True"


def test_the_secret_is_labelled_and_owned(ready):
    uid = ready.get("gitpulseproject/website")["metadata"]["uid"]
    made = json.loads(ready.kubectl("get", "secret", "-l", "gitpulse.io/project=website", "-o", "json"))["items"]
    assert [owner["uid"] for secret in made for owner in secret["metadata"]["ownerReferences"]] == [uid]


def test_get_shows_how_it_stands(ready):
    ready.wait("gitlabconnection/gitlab")
    shown = [line.split() for line in ready.plane.kubectl("get", "gitpulse", "-A").splitlines()]
    rows = {row[1]: row[2:-1] for row in shown if row and row[0] == ready.namespace}
    assert rows["gitpulseproject.gitpulse.io/website"][:2] == ["acme/website", "True"]
    assert rows["gitpulseproject.gitpulse.io/website"][-1] == "1"
    assert rows["gitlabconnection.gitpulse.io/gitlab"][:2] == [ready.simulator.url, "True"]


def test_a_changed_spec_changes_the_hook(ready):
    (before,) = ready.hooks("website")
    ready.patch("gitpulseproject/website", {"spec": {"events": ["Push", "Release"], "sslVerification": False}})
    wait_until(lambda: before.events == {"push_events", "releases_events"}, what="the hook to follow")
    assert ready.hooks("website") == [before]
    assert before.enable_ssl_verification is False
    ready.wait("gitpulseproject/website")


def test_another_project_moves_the_hook(ready):
    ready.patch("gitpulseproject/website", {"spec": {"project": "acme/api"}})
    wait_until(lambda: ready.hooks("website", "acme/api"), what="the hook in the other project")
    wait_until(lambda: not ready.hooks("website"), what="the old hook to go")
    wait_until(lambda: ready.get("gitpulseproject/website")["status"]["target"]["path"] == "acme/api")
    assert (len(ready.hooks("website", "acme/api")), ready.hooks("website")) == (1, [])


def test_a_foreign_change_is_put_right_when_asked_to_look(ready):
    (hook,) = ready.hooks("website")
    hook.events.discard("push_events")
    ready.kubectl("annotate", "gitpulseproject/website", "gitpulse.io/reconcile-requested-at=now")
    wait_until(lambda: "push_events" in hook.events, what="the hook to be put right")
    wait_until(lambda: ready.get("gitpulseproject/website")["status"].get("lastHandledReconcileAt") == "now")
    assert ready.hooks("website") == [hook]
    assert "push_events" in hook.events


def test_deleted_means_gone(ready, operator):
    (hook,) = ready.hooks("website")
    assert "gitpulse.io/hook-cleanup" in ready.get("gitpulseproject/website")["metadata"]["finalizers"]
    ready.kubectl("delete", "gitpulseproject", "website", "--timeout=20s")
    assert ready.hooks("website") == []
    with redis_client.Redis.from_url(operator.redis_url) as directory:
        assert not directory.hexists(contract.DIRECTORY, hook.url.rpartition("/")[2])
    assert ready.hooks("api", "acme/api"), "the other one stays"


def test_an_orphan_stays_in_gitlab(ready):
    ready.patch("gitpulseproject/website", {"spec": {"deletionPolicy": "Orphan"}})
    ready.kubectl("delete", "gitpulseproject", "website", "--timeout=20s")
    assert len(ready.hooks("website")) == 1


def test_both_project_and_group_are_refused(place):
    manifest = (place.examples / "website.yaml").read_text() + "  group: acme\n"
    refused = place.plane.try_kubectl("-n", place.namespace, "apply", "-f", "-", stdin=manifest)
    assert refused.returncode == 1
    assert "must have exactly one of `project` and `group`" in refused.stderr


def test_a_token_without_scope_says_so_and_a_better_one_is_taken_up(place, running_operator):
    owner = place.simulator.world.user("alice")
    place.simulator.world.add_token(owner, "reads-only", scopes=("read_api",))
    connection = place.examples / "connection.yaml"
    connection.write_text(connection.read_text().replace("token: demo-token", "token: reads-only"))
    place.apply_examples()

    place.wait("gitlabconnection/gitlab", "Ready", "false")
    found = place.condition("gitlabconnection/gitlab", "CredentialsValid")
    assert (found["status"], found["reason"]) == ("False", "InsufficientScope")
    assert '"api"' in found["message"]
    place.wait("gitpulseproject/website", "Ready", "false")
    assert place.condition("gitpulseproject/website", "CredentialsValid")["reason"] == "InsufficientScope"
    assert place.hooks("website") == []

    place.patch("secret/gitlab-token", {"stringData": {"token": "demo-token"}})
    place.wait("gitlabconnection/gitlab")
    place.wait("gitpulseproject/website")
    assert len(place.hooks("website")) == 1


def test_what_is_not_there_is_waited_for(place, running_operator):
    """The order in which things are applied does not matter."""
    place.kubectl("apply", "-f", place.examples / "website.yaml")
    place.wait("gitpulseproject/website", "Ready", "false")
    assert place.condition("gitpulseproject/website", "Ready")["reason"] == "ConnectionMissing"
    place.kubectl("apply", "-f", place.examples / "connection.yaml")
    place.wait("gitpulseproject/website")


def test_a_project_that_gitlab_does_not_show_says_so(place, running_operator):
    place.apply_examples()
    place.patch("gitpulseproject/api", {"spec": {"project": "acme/secret"}})
    wait_until(lambda: place.condition("gitpulseproject/api", "Ready").get("reason") == "TargetNotFound")
    assert place.condition("gitpulseproject/api", "Stalled")["status"] == "True"


def test_it_may_do_what_it_needs_and_no_more(control_plane: ControlPlane, operator):
    def may(*what: str) -> bool:
        return control_plane.try_kubectl("auth", "can-i", *what, kubeconfig=operator.kubeconfig).returncode == 0

    assert may("patch", "gitpulseprojects.gitpulse.io", "--subresource=status", "-A")
    assert not may("*", "*", "-A")
    for what in ("namespaces", "clusterroles", "pods", "gitpulseprojects.gitpulse.io"):
        assert not may("create", what, "-A")
        assert not may("delete", what, "-A")


def test_no_secret_shows_anywhere(ready, operator, simulator: Simulator):
    projects = simulator.world.projects.values()
    secrets = {"demo-token", "reads-only"}
    secrets |= {str(s) for p in projects for h in p.hooks.values() for s in (h.token, h.signing_token) if s}
    assert len(secrets) > 2
    shown = operator.log.read_text()
    shown += ready.plane.kubectl(
        "get", "gitpulseprojects,gitlabconnections,events", "-A", "-o", "yaml", "--show-managed-fields"
    )
    assert len(shown) > 1000
    assert [secret for secret in secrets if secret in shown] == []
