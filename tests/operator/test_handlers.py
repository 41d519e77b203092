"""The operator's handlers on a real Kubernetes API, in this process, under the rights that it ships with."""

from __future__ import annotations

from typing import Any

import pytest

from gitpulse_operator.adapters.kube import KubeCluster
from gitpulse_operator.errors import ClusterUnavailable
from gitpulse_operator.metrics import GITLAB_REQUESTS, RECONCILE_TOTAL, STATUS_WRITES
from gitpulse_operator.reconcile.resource import Resource
from gitpulse_service.contract import DIRECTORY, DIRECTORY_SHARDS
from gitpulse_sim.faults import Fault
from harness.cluster import Cluster, eventually, total
from harness.house import resource

pytestmark = pytest.mark.cluster


async def test_an_unchanged_restart_writes_nothing(cluster, redis):
    async with cluster.operator():
        cluster.apply_connection()
        for number in range(5):
            cluster.apply_project(f"website-{number}")
        for number in range(5):
            await eventually(lambda n=number: cluster.is_ready(f"website-{n}"), what="ready")
        await eventually(lambda: redis.exists(DIRECTORY_SHARDS), what="a complete directory")
    before, hooks = cluster.versions(), dict(cluster.simulator.website.hooks)
    writes, requests = total(STATUS_WRITES), total(GITLAB_REQUESTS)
    assert len(hooks) == 5
    redis.flushall()
    async with cluster.operator():
        await eventually(lambda: redis.exists(DIRECTORY_SHARDS), what="a complete directory")
        assert redis.hlen(DIRECTORY) == 5, "complete means that all are there"
    assert cluster.versions() == before
    assert total(STATUS_WRITES) == writes, "a write of what is there already is a request all the same"
    assert total(GITLAB_REQUESTS) - requests <= 5 + 4, "one for each hook, and what the connection asks"
    assert cluster.simulator.website.hooks == hooks


async def test_first_contact_writes_finalizer_and_status_and_no_more(cluster):
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator():
        await eventually(cluster.is_ready, what="ready")
    body = cluster.get("gitpulseproject", "website", "--show-managed-fields")
    assert body["metadata"]["finalizers"] == ["gitpulse.io/hook-cleanup"]
    assert "annotations" not in body["metadata"]
    writers = [entry.get("subresource") for entry in body["metadata"]["managedFields"]]
    assert sorted(writer or "" for writer in writers) == ["", "", "status"]


async def test_the_finalizer_holds_until_the_hook_is_gone(cluster, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.handlers.resources.CLEANUP_RETRY", 0.5)
    async with cluster.looked_after():
        cluster.simulator.world.faults.append(Fault(path="*/hooks*", status=502, count=-1))
        cluster.delete("gitpulseproject/website")
        notes = await eventually(
            lambda: "annotations" in cluster.get("gitpulseproject", "website")["metadata"], what="a first try"
        )
        assert notes
        assert len(cluster.simulator.website.hooks) == 1
    cluster.simulator.world.faults.clear()
    async with cluster.operator():  # a new process goes on where the other one was
        await eventually(lambda: cluster.get("gitpulseproject", "website") is None, what="gone", within=30)
    assert cluster.simulator.website.hooks == {}


async def test_deletion_ends_without_credentials_and_says_what_stays(cluster):
    async with cluster.looked_after():
        cluster.kubectl("delete", "gitlabconnection/gitlab", "secret/gitlab-token")
        await eventually(
            lambda: cluster.ready("gitpulseproject", "website") == ("False", "ConnectionMissing"), what="noticed"
        )
    async with cluster.operator():  # a new process has never known the token
        cluster.delete("gitpulseproject/website")
        await eventually(lambda: cluster.get("gitpulseproject", "website") is None, what="gone", within=10)
    assert "HookLeftBehind" in cluster.events()
    assert len(cluster.simulator.website.hooks) == 1


@pytest.mark.parametrize("first", ["gitlabconnection/gitlab", "secret/gitlab-token"])
async def test_a_hook_goes_although_its_connection_went_first(cluster, first):
    async with cluster.looked_after():
        cluster.kubectl("delete", first)
        await eventually(lambda: cluster.ready("gitpulseproject", "website")[0] == "False", what="noticed")
        cluster.kubectl("delete", "gitlabconnection,secret", "--all")
        cluster.delete("gitpulseproject/website")
        await eventually(lambda: cluster.get("gitpulseproject", "website") is None, what="gone", within=10)
    assert "HookLeftBehind" not in cluster.events()
    assert cluster.simulator.website.hooks == {}


async def test_a_new_token_is_taken_up_at_once(cluster):
    async with cluster.operator():
        cluster.apply_connection(token="wrong")
        cluster.apply_project()
        refused = ("False", "CredentialsInvalid")
        await eventually(lambda: cluster.ready("gitpulseproject", "website") == refused, what="refused")
        await eventually(lambda: cluster.ready("gitlabconnection", "gitlab") == refused, what="refused")
        cluster.apply_connection()
        await eventually(cluster.is_ready, what="ready", within=10)
        assert cluster.ready("gitlabconnection", "gitlab") == ("True", "Connected")


async def test_a_connection_that_comes_later_wakes_its_projects(cluster, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.reconcile.runner.FIRST_RETRY", 60.0)  # it is woken, or comes too late
    async with cluster.operator():
        cluster.apply_project()
        missing = ("False", "ConnectionMissing")
        await eventually(lambda: cluster.ready("gitpulseproject", "website") == missing, what="missing")
        cluster.apply_connection()
        await eventually(cluster.is_ready, what="ready", within=10)


async def test_a_secret_of_ours_that_was_deleted_is_made_anew(cluster):
    async with cluster.looked_after():
        (hook,) = cluster.simulator.website.hooks.values()
        before = hook.signing_token
        cluster.kubectl("delete", "secret", "gitpulse-website")
        await eventually(lambda: hook.signing_token != before, what="a new secret in GitLab", within=10)
        assert cluster.get("secret", "gitpulse-website")


async def test_a_secret_that_was_brought_and_changes_is_taken_up_at_once(cluster):
    def bring(token: str) -> None:
        meta = {"name": "mine", "labels": {"app.kubernetes.io/part-of": "gitpulse"}}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"token": token}})

    bring("the-first-of-mine")
    async with cluster.operator():
        cluster.apply_connection()
        cluster.apply_project(secret={"secretRef": {"name": "mine"}})
        await eventually(cluster.is_ready, what="ready")
        (hook,) = cluster.simulator.website.hooks.values()
        assert hook.token == "the-first-of-mine"
        bring("the-second-of-mine")
        await eventually(lambda: hook.token == "the-second-of-mine", what="the new one in GitLab", within=10)
        data = cluster.get("secret", "gitpulse-website")["data"]
        assert set(data) == {"brought-1", "brought-2"}


async def test_a_connection_has_the_secrets_of_all_its_hooks_rotated(cluster):
    async with cluster.operator():
        cluster.apply_connection()
        for name in ("website", "other"):
            cluster.apply_project(name)
            await eventually(lambda n=name: cluster.is_ready(n), what="ready")
        cluster.kubectl("annotate", "gitlabconnection/gitlab", "gitpulse.io/rotate-requested-at=1")
        for name in ("website", "other"):
            await eventually(
                lambda n=name: cluster.get("gitpulseproject", n)["status"]["secret"]["generation"] == 2,
                what=f"a new secret for {name}",
                within=10,
            )
        assert cluster.get("gitlabconnection", "gitlab")["status"]["lastHandledRotateAt"] == "1"


async def test_of_two_who_change_a_secret_at_once_one_reads_again(cluster, account):
    kube = await KubeCluster.connect(str(account))
    cluster.apply_project()
    owner = Resource.from_body(cluster.get("gitpulseproject", "website"))
    before = {"generation-1": b"a" * 32}
    await kube.create_secret(owner, "gitpulse-website", before)
    await kube.change_secret(owner, "gitpulse-website", before, {"generation-2": b"b" * 32})
    with pytest.raises(ClusterUnavailable, match="changed by somebody else"):
        await kube.change_secret(owner, "gitpulse-website", before, {"generation-2": b"c" * 32})
    both = {**before, "generation-2": b"b" * 32}
    assert await kube.secret(cluster.namespace, "gitpulse-website") == both
    await kube.change_secret(owner, "gitpulse-website", both, {"generation-1": None})
    assert await kube.secret(cluster.namespace, "gitpulse-website") == {"generation-2": b"b" * 32}
    await kube.close()


async def test_a_redis_that_lost_its_data_is_given_it_again(cluster, redis, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.control.DIRECTORY_CHECK", 0.2)
    async with cluster.looked_after():
        redis.flushall()
        await eventually(lambda: redis.exists(DIRECTORY_SHARDS), what="complete again")
        assert redis.hlen(DIRECTORY) == 1


async def test_a_secret_of_somebody_elses_stands_in_the_way(cluster):
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gitpulse-website"}})
    async with cluster.operator():
        cluster.apply_connection()
        cluster.apply_project()
        taken = ("False", "SecretTaken")
        await eventually(lambda: cluster.ready("gitpulseproject", "website") == taken, what="noticed")
        assert cluster.simulator.website.hooks == {}
        cluster.kubectl("delete", "secret", "gitpulse-website")
        await eventually(lambda: cluster.get("secret", "gitpulse-website") is None, what="deleted")
        cluster.annotate("reconcile", "1")
        await eventually(cluster.is_ready, what="ready")


async def test_a_group_is_followed_project_by_project_and_remembered(cluster: Cluster):
    """Under the rights that the operator ships with: the ConfigMap, a restart that writes nothing, and the end."""
    world = cluster.simulator.world
    world.instance.tier = "free"
    cluster.apply_connection()
    cluster.apply(resource("GitPulseProject", "acme", {"connectionRef": {"name": "gitlab"}, "group": "acme"}))

    def hooks() -> set[str]:
        return {place.full_path for place in world.parents if place.hooks}

    def versions() -> dict[str, Any]:
        kinds = ("gitpulseproject", "secret", "configmap")
        names = ("acme", "gitpulse-acme", "gitpulse-acme-hooks")
        found = (cluster.get(kind, name) or {} for kind, name in zip(kinds, names, strict=True))
        return {each["kind"]: each["metadata"]["resourceVersion"] for each in found}

    async with cluster.operator():
        ready = ("True", "Installed")
        await eventually(lambda: cluster.ready("gitpulseproject", "acme") == ready, what="all hooks")
        assert hooks() == {"acme/website", "acme/api"}
        status = (cluster.get("gitpulseproject", "acme") or {})["status"]
        assert status["groupMode"] == "ProjectHooks"
        assert status["hooks"]["installed"] == 2
        before = versions()
    runs = total(RECONCILE_TOTAL, kind="GitPulseProject")
    changes = [total(GITLAB_REQUESTS, method=method) for method in ("POST", "PUT", "DELETE")]
    async with cluster.operator():
        done = "a run over the group, over each project, and the sum"
        await eventually(lambda: total(RECONCILE_TOTAL, kind="GitPulseProject") >= runs + 4, what=done)
        assert versions() == before
        assert [total(GITLAB_REQUESTS, method=method) for method in ("POST", "PUT", "DELETE")] == changes
        cluster.delete("gitpulseproject/acme")
        await eventually(lambda: cluster.get("gitpulseproject", "acme") is None, what="its end")
        assert hooks() == set()
