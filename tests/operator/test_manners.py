"""How the operator behaves among others: who writes at the same time, who reads what it tells, what it may ask for."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gitpulse_operator.metrics import STATUS_WRITES
from gitpulse_sim.faults import Fault
from harness.cluster import SYSTEM, Cluster, eventually, total
from harness.controlplane import ROOT
from harness.processes import free_port

pytestmark = pytest.mark.cluster

PROJECT = ("gitpulseproject", "website")
RBAC = "rbac.authorization.k8s.io/v1"


def conditions(cluster):
    """Type -> condition."""
    return {c["type"]: c for c in (cluster.get(*PROJECT) or {}).get("status", {}).get("conditions", ())}


async def asked(cluster, value):
    """One run over the project, asked for."""
    cluster.annotate("reconcile", value)
    await eventually(lambda: cluster.get(*PROJECT)["status"].get("lastHandledReconcileAt") == value, what="a run")


async def test_events_and_conditions_tell_of_transitions_alone(cluster):
    async with cluster.looked_after():
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


async def test_others_who_write_at_the_same_time_lose_nothing_and_neither_do_we(cluster):
    """Labels and a finalizer of somebody else's, its status overwritten, its secret rotated again and again."""

    def meddle(number):
        wrong = json.dumps({"status": {"hookID": 4711, "conditions": []}})
        for what in ("gitpulseproject/website", "secret/gitpulse-website"):
            cluster.kubectl("label", what, f"them.example/n{number}=1")
        cluster.kubectl("patch", *PROJECT, "--subresource=status", "--type=merge", "-p", wrong)
        cluster.annotate("rotate", str(number))

    async with cluster.looked_after():
        (hook,) = cluster.simulator.website.hooks.values()
        writes = total(STATUS_WRITES)
        add = json.dumps([{"op": "add", "path": "/metadata/finalizers/-", "value": "them.example/held"}])
        cluster.kubectl("patch", *PROJECT, "--type=json", "-p", add)
        for number in range(6):
            await asyncio.to_thread(meddle, number)
        await asked(cluster, "and now")
        await eventually(cluster.is_ready, what="ready")
        assert total(STATUS_WRITES) - writes < 30, "no quarrel without end"
        body, secret = cluster.get(*PROJECT), cluster.get("secret", "gitpulse-website")
        assert body["status"]["hookID"] == hook.id
        assert list(cluster.simulator.website.hooks.values()) == [hook]
        for theirs in (body["metadata"]["labels"], secret["metadata"]["labels"]):
            assert {f"them.example/n{number}" for number in range(6)} <= theirs.keys()
        cluster.delete("gitpulseproject/website")
        left = ["them.example/held"]
        await eventually(lambda: cluster.get(*PROJECT)["metadata"]["finalizers"] == left, what="ours to go")
        assert not cluster.simulator.website.hooks
    cluster.kubectl("patch", *PROJECT, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


async def test_a_deleted_one_goes_though_gitlab_stays_down(cluster, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.handlers.resources.CLEANUP_RETRY", 0.3)
    cluster.settings = cluster.settings.model_copy(update={"deletion_deadline": 2})
    async with cluster.looked_after():
        cluster.simulator.world.faults.append(Fault(status=502, count=-1))
        cluster.delete("gitpulseproject/website")
        await eventually(lambda: cluster.get(*PROJECT) is None, what="gone", within=15)
    assert cluster.events() == {"HookCreated": 1, "CleanupDelayed": 1, "HookLeftBehind": 1}


async def test_a_namespace_that_is_deleted_holds_nobody_up(cluster):
    """The token's Secret goes first there, and nothing can be created any more, not even an Event."""
    async with cluster.looked_after() as running:
        cluster.plane.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
        cluster.kubectl("delete", "secret/gitlab-token", "gitlabconnection/gitlab")
        await eventually(lambda: cluster.ready(*PROJECT) == ("False", "ConnectionMissing"), what="noticed")
        cluster.delete("gitpulseproject/website")
        await eventually(lambda: cluster.get(*PROJECT) is None, what="gone")
        assert not running.done()


async def test_roles_in_some_namespaces_are_enough(
    cluster, control_plane, simulator, redis_url, installation_key, monkeypatch
):
    other, name = Cluster(control_plane, simulator, redis_url, installation_key), "gitpulse-roles"
    _, role, *_ = yaml.safe_load_all((ROOT / "operator" / "rbac.yaml").read_text())
    rules = [rule for rule in role["rules"] if rule["resources"][0] not in ("namespaces", "customresourcedefinitions")]
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig_for(name, SYSTEM)))
    places = {place.namespace: place for place in (cluster, other)}
    cluster.settings = cluster.settings.model_copy(update={"watch_namespaces": ",".join(places)})
    for place in places.values():
        place.apply({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": rules})
        place.kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={SYSTEM}:{name}")
        place.apply_connection()
        place.apply_project()
    async with cluster.operator() as running:
        for place in places.values():
            await eventually(place.is_ready, what="ready")
        other.delete("gitpulseproject/website")
        await eventually(lambda: other.get(*PROJECT) is None, what="gone")
        assert not running.done()
    if control_plane.servers:
        log = map(json.loads, (control_plane.folder / "audit.log").read_text().splitlines())
        done = [entry for entry in log if name in entry["user"]["username"]]
        assert {entry["responseStatus"]["code"] for entry in done} <= {200, 201, 404}
        assert {entry["objectRef"].get("namespace") for entry in done if "objectRef" in entry} == places.keys()


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
        cluster.apply_project("astray", project="acme/astray")
        await eventually(cluster.is_ready, what="ready")
        lost = ("False", "TargetNotFound")
        await eventually(lambda: cluster.ready("gitpulseproject", "astray") == lost, what="the other one stalled")
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
    assert not [key for key in after if {"website", "astray", cluster.namespace} & set(key)]
