"""How the operator behaves among others: who writes at the same time, who reads what it tells, what it may ask for."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gitpulse_operator.domain.conditions import LONGEST_MESSAGE
from gitpulse_operator.metrics import GITLAB_REQUESTS, STATUS_WRITES
from gitpulse_sim import faults
from gitpulse_sim.faults import Fault
from harness.cluster import SYSTEM, Cluster, eventually, total
from harness.controlplane import ROOT
from harness.processes import free_port

pytestmark = pytest.mark.cluster

PROJECT = ("gitpulseproject", "website")


def conditions(cluster):
    """Type -> condition."""
    return {c["type"]: c for c in (cluster.get(*PROJECT) or {}).get("status", {}).get("conditions", ())}


async def asked(cluster, value):
    """One run over the project, asked for."""
    cluster.annotate("reconcile", value)
    await eventually(lambda: cluster.get(*PROJECT)["status"].get("lastHandledReconcileAt") == value, what="a run")


async def test_events_and_conditions_tell_of_transitions_alone(cluster):
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator():
        await eventually(cluster.is_ready, what="ready")
        for number in range(3):
            await asked(cluster, f"well-{number}")
        assert cluster.events() == {"HookCreated": 1}
        assert not {"Reconciling", "Stalled"} & conditions(cluster).keys()
        cluster.simulator.world.faults.append(Fault(path="*/hooks*", status=502, count=-1))
        writes = total(STATUS_WRITES)
        for number in range(3):
            await asked(cluster, f"down-{number}")
        assert total(STATUS_WRITES) - writes == 3, "one for each answer to an annotation"
        assert cluster.events() == {"HookCreated": 1, "GitLabUnavailable": 1}
        found = conditions(cluster)
        assert (found["Reconciling"]["status"], "Stalled" in found) == ("True", False)
        assert found["HookInstalled"]["status"] == "True", "what was known stays known"
        cluster.simulator.world.faults.clear()
        await eventually(cluster.is_ready, what="ready again")
        await asked(cluster, "well again")
        assert cluster.events() == {"HookCreated": 1, "GitLabUnavailable": 1, "Ready": 1}
        cluster.apply_project(project="acme/secret")
        await eventually(lambda: "Stalled" in conditions(cluster), what="stalled")
        body = cluster.get(*PROJECT)
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"] == 2
        assert {c["observedGeneration"] for c in body["status"]["conditions"]} == {2}
        assert "Reconciling" not in conditions(cluster)


async def test_a_message_of_any_length_is_cut_to_fit(cluster, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.adapters.answers.LONGEST_QUOTE", 10_000)
    monkeypatch.setitem(faults._WORDS, 422, {"message": "nö " * 3000})
    cluster.simulator.world.faults.append(Fault(path="*/hooks*", method="POST", status=422, count=-1))
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator():
        await eventually(lambda: cluster.ready(*PROJECT) == ("False", "RefusedByGitLab"), what="refused")
    assert len(conditions(cluster)["Ready"]["message"]) == LONGEST_MESSAGE
    assert cluster.events() == {"RefusedByGitLab": 1}


async def test_suspended_nothing_is_put_right_until_it_is_resumed(cluster):
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator():
        await eventually(cluster.is_ready, what="ready")
        (hook,) = cluster.simulator.website.hooks.values()
        cluster.apply_project(suspend=True)
        await eventually(lambda: cluster.ready(*PROJECT) == ("Unknown", "Suspended"), what="suspended")
        hook.events.discard("push_events")
        requests = total(GITLAB_REQUESTS)
        await asked(cluster, "now")
        assert "push_events" not in hook.events
        assert total(GITLAB_REQUESTS) == requests
        cluster.apply_project(suspend=False)
        await eventually(lambda: "push_events" in hook.events, what="the hook to be put right")


async def test_others_who_write_at_the_same_time_lose_nothing_and_neither_do_we(cluster):
    """Labels, a finalizer and annotations of somebody else's on it and on its Secret; its status overwritten."""
    cluster.apply_connection()
    cluster.apply_project()

    def meddle(number):
        label = f"them.example/n{number}=1"
        cluster.kubectl("label", "--overwrite", "gitpulseproject/website", label)
        cluster.plane.try_kubectl("-n", cluster.namespace, "label", "--overwrite", "secret/gitpulse-website", label)
        if number == 0:
            add = json.dumps([{"op": "add", "path": "/metadata/finalizers/-", "value": "them.example/held"}])
            cluster.kubectl("patch", "gitpulseproject/website", "--type=json", "-p", add)
        wrong = {"status": {"hookID": 4711, "conditions": []}}
        cluster.kubectl(
            *("patch", "gitpulseproject/website", "--subresource=status", "--type=merge", "-p", json.dumps(wrong))
        )
        cluster.annotate("rotate", str(number))

    async with cluster.operator():
        await eventually(cluster.is_ready, what="ready")
        (hook,) = cluster.simulator.website.hooks.values()
        writes = total(STATUS_WRITES)
        for number in range(6):
            await asyncio.to_thread(meddle, number)
        await asked(cluster, "and now")
        await eventually(cluster.is_ready, what="ready")
        await asked(cluster, "once more")
        assert total(STATUS_WRITES) - writes < 30, "no quarrel without end"
        body, secret = cluster.get(*PROJECT), cluster.get("secret", "gitpulse-website")
        assert body["status"]["hookID"] == hook.id
        assert list(cluster.simulator.website.hooks.values()) == [hook]
        assert set(body["metadata"]["finalizers"]) == {"gitpulse.io/hook-cleanup", "them.example/held"}
        theirs = {f"them.example/n{number}" for number in range(6)}
        assert theirs <= body["metadata"]["labels"].keys()
        assert theirs <= secret["metadata"]["labels"].keys()
        newest = max(int(key.rpartition("-")[2]) for key in secret["data"])
        assert body["status"]["secret"]["generation"] in (newest, newest - 1)
        cluster.kubectl("delete", *PROJECT, "--wait=false")
        await eventually(lambda: not cluster.simulator.website.hooks, what="the hook to go")
        left = await eventually(lambda: _only_theirs(cluster), what="our finalizer to go")
        assert left == ["them.example/held"]
    cluster.kubectl("patch", *PROJECT, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def _only_theirs(cluster):
    finalizers = cluster.get(*PROJECT)["metadata"]["finalizers"]
    return finalizers if "gitpulse.io/hook-cleanup" not in finalizers else None


async def test_a_deleted_one_goes_though_gitlab_stays_down(cluster, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.handlers.resources.CLEANUP_RETRY", 0.3)
    cluster.settings = cluster.settings.model_copy(update={"deletion_deadline": 2})
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator():
        await eventually(cluster.is_ready, what="ready")
        cluster.simulator.world.faults.append(Fault(status=502, count=-1))
        cluster.kubectl("delete", *PROJECT, "--wait=false")
        await eventually(lambda: cluster.get(*PROJECT) is None, what="gone", within=15)
    assert cluster.events() == {"HookCreated": 1, "CleanupDelayed": 1, "HookLeftBehind": 1}


async def test_a_namespace_that_is_deleted_holds_nobody_up(cluster):
    """The token's Secret goes first there, and nothing can be created any more, not even an Event."""
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator() as running:
        await eventually(cluster.is_ready, what="ready")
        cluster.plane.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
        cluster.kubectl("delete", "secret/gitlab-token", "gitlabconnection/gitlab")
        await eventually(lambda: cluster.ready(*PROJECT) == ("False", "ConnectionMissing"), what="noticed")
        cluster.kubectl("delete", *PROJECT, "--wait=false")
        await eventually(lambda: cluster.get(*PROJECT) is None, what="gone")
        assert not running.done()


@pytest.fixture
def roles(cluster, control_plane, simulator, redis_url, installation_key, monkeypatch):
    """A cluster of two namespaces, in which the operator has Roles, and no right elsewhere."""
    first, second = cluster, Cluster(control_plane, simulator, redis_url, installation_key)
    _, role, _ = yaml.safe_load_all((ROOT / "operator" / "rbac.yaml").read_text())
    rules = [rule for rule in role["rules"] if rule["resources"][0] not in ("namespaces", "customresourcedefinitions")]
    assert len(rules) == len(role["rules"]) - 2
    name = "gitpulse-roles"
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    for place in (first, second):
        place.apply(
            {**rbac, "kind": "Role", "rules": rules},
            {
                **rbac,
                "kind": "RoleBinding",
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}],
            },
        )
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig_for(name, SYSTEM)))
    both = f"{first.namespace},{second.namespace}"
    first.settings = first.settings.model_copy(update={"watch_namespaces": both})
    return first, second


async def test_roles_in_some_namespaces_are_enough(roles, control_plane):
    first, second = roles
    for place in roles:
        place.apply_connection()
    first.apply_project()
    async with first.operator() as running:
        second.apply_project()
        for place in roles:
            await eventually(place.is_ready, what="ready")
        second.kubectl("delete", *PROJECT, "--wait=false")
        await eventually(lambda: second.get(*PROJECT) is None, what="gone")
        assert not running.done()
    if control_plane.servers is None:
        return
    log = (control_plane.folder / "audit.log").read_text().splitlines()
    asked_for = [entry for line in log if "gitpulse-roles" in (entry := json.loads(line))["user"]["username"]]
    assert {entry["responseStatus"]["code"] for entry in asked_for} <= {200, 201, 404}
    assert {entry["objectRef"].get("namespace") for entry in asked_for if "objectRef" in entry} == {
        first.namespace,
        second.namespace,
    }


async def test_metrics_count_runs_and_requests_and_name_no_resource(cluster):
    port = free_port()
    cluster.settings = cluster.settings.model_copy(update={"metrics_port": port})

    def scraped():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        families = (family for family in text_string_to_metric_families(text) if family.name.startswith("gitpulse_"))
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    async with cluster.operator():
        before = await asyncio.to_thread(scraped)
        cluster.apply_connection()
        cluster.apply_project()
        cluster.apply_project("lost", project="acme/lost")
        await eventually(cluster.is_ready, what="ready")
        lost = ("False", "TargetNotFound")
        await eventually(lambda: cluster.ready("gitpulseproject", "lost") == lost, what="the other one stalled")
        after = await asyncio.to_thread(scraped)
    grown = {key for key, value in after.items() if value > before.get(key, 0)}
    assert {
        ("gitpulse_reconcile_total", "GitPulseProject", "success"),
        ("gitpulse_reconcile_total", "GitPulseProject", "stalled"),
        ("gitpulse_reconcile_errors_total", "GitPulseProject", "TargetNotFound"),
        ("gitpulse_reconcile_time_seconds_count", "GitLabConnection"),
        ("gitpulse_status_writes_total", "GitPulseProject"),
        ("gitpulse_gitlab_requests_total", "POST", "201"),
        ("gitpulse_gitlab_requests_total", "GET", "404"),
    } <= grown
    assert ("gitpulse_workqueue_depth",) in after
    assert not [key for key in after if {"website", "lost", cluster.namespace} & set(key)]
