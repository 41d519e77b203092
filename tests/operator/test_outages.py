"""A Kubernetes API that goes away, falls silent or forgets, and an operator that goes on."""

from __future__ import annotations

import json
from functools import partial

import pytest

from gitpulse_operator.adapters import kube
from gitpulse_operator.handlers import lifecycle
from gitpulse_operator.metrics import GITLAB_REQUESTS, RECONCILE_ERRORS, STATUS_WRITES
from harness.cluster import Cluster, eventually, operator_account, total
from harness.proxy import Proxy

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def account(own_control_plane):
    return operator_account(own_control_plane)


@pytest.fixture
def cluster(own_control_plane, account, simulator, redis_url, installation_key, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(account))
    return Cluster(own_control_plane, simulator, redis_url, installation_key)


@pytest.fixture
async def proxy(cluster, account, monkeypatch):
    """Between an operator of little patience and its API server; kubectl goes past it."""
    monkeypatch.setattr(lifecycle, "WATCH_SILENCE", 2.0)
    monkeypatch.setattr(kube, "REQUEST_TIMEOUT", 2.0)
    proxy = Proxy.of(cluster.plane.servers)
    async with proxy.serving(account) as detour:
        monkeypatch.setenv("KUBECONFIG", str(detour))
        yield proxy


async def is_followed(cluster, running):
    """Whether an edit made now is acted on, by the same operator."""
    (hook,) = cluster.simulator.website.hooks.values()
    cluster.apply_project(sslVerification=False)
    await eventually(lambda: not hook.enable_ssl_verification, what="the edit to be followed")
    await eventually(
        lambda: cluster.get("gitpulseproject", "website")["status"]["observedGeneration"] == 2, what="said"
    )
    return not running.done()


async def test_an_api_server_that_is_back_is_heard_again(cluster, caplog):
    async with cluster.looked_after() as running:
        before = cluster.versions()
        writes, puts = total(STATUS_WRITES), total(GITLAB_REQUESTS, method="PUT")
        cluster.plane.servers.kill()
        await eventually(lambda: "will retry" in caplog.text, what="a first try in vain")
        cluster.plane.servers.start()
        assert await is_followed(cluster, running)
    changed = {name for name, version in cluster.versions().items() if before.get(name) != version}
    assert {name for name in changed if not name.startswith("Event/")} == {"GitPulseProject/website"}
    assert cluster.events() == {"HookCreated": 1, "HookUpdated": 1}
    assert total(STATUS_WRITES) - writes == 1
    assert total(GITLAB_REQUESTS, method="PUT") - puts == 1


async def test_a_watch_that_fell_silent_is_begun_anew(cluster, proxy):
    async with cluster.looked_after() as running:
        assert proxy.silence() >= 3, "a watch for each kind goes this way"
        assert await is_followed(cluster, running)


async def test_what_happened_in_a_past_that_is_forgotten_is_followed(cluster, proxy):
    """No watch can be gone on with from where it was: all is listed again."""
    servers = cluster.plane.servers
    async with cluster.looked_after() as running:
        last = cluster.get("gitpulseproject", "website")["metadata"]["resourceVersion"]
        proxy.passing = False
        proxy.silence()
        cluster.apply_connection(token="wrong")
        servers.kill()
        now = int(servers.etcd("kv/range", key="AA==")["header"]["revision"])
        servers.etcd("kv/compaction", revision=now, physical=True)
        servers.start()
        expired = cluster.plane.try_kubectl(
            *("get", "--raw", f"/apis/gitpulse.io/v1alpha1/gitpulseprojects?watch=1&resourceVersion={last}")
        )
        assert '"code":410' in expired.stdout + expired.stderr
        proxy.passing = True
        refused = ("False", "CredentialsInvalid")
        await eventually(lambda: cluster.ready("gitpulseproject", "website") == refused, what="the new token's fate")
        cluster.apply_connection()
        assert await is_followed(cluster, running)


async def test_an_api_that_is_out_of_service_for_long_is_waited_for(cluster, proxy, monkeypatch):
    monkeypatch.setattr(lifecycle, "API_RETRIES", (0.05,) * 600)
    async with cluster.looked_after() as running:
        proxy.says = 503
        proxy.silence()
        await eventually(lambda: proxy.turned_away > 60, what="many tries")
        proxy.says = 0
        assert await is_followed(cluster, running)


async def test_a_status_that_is_refused_is_told_and_tried_ever_later(cluster, account, caplog):
    """As when the installed kinds are older than the operator."""

    def longest_path(length: int) -> None:
        path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/target/properties/path/maxLength"
        patch = json.dumps([{"op": "replace", "path": path, "value": length}])
        cluster.plane.kubectl("patch", "crd", "gitpulseprojects.gitpulse.io", "--type=json", "-p", patch)

    refused = partial(total, RECONCILE_ERRORS, reason="StatusRefused")
    before, posts = refused(), total(GITLAB_REQUESTS, method="POST")
    longest_path(3)
    cluster.apply_connection()
    cluster.apply_project()
    async with cluster.operator():
        await eventually(lambda: refused() - before >= 3, what="three refusals")
        longest_path(1024)
        told = [record.message for record in caplog.records if "refuses the status" in record.message]
        assert "status.target.path" in told[0]
        assert [message.rpartition("(")[2] for message in told[:3]] == [f"again in {n} s)" for n in (1, 2, 4)]
        await eventually(cluster.is_ready, what="ready, once it fits")
    assert total(GITLAB_REQUESTS, method="POST") - posts == 1, "what is not in the status is found in GitLab"
    assert cluster.events()["HookCreated"] <= 1
