"""Two operators share the projects of a namespace by a label."""

from __future__ import annotations

import copy

import pytest
import redis as redis_client

from gitpulse_operator.adapters.kube import KubeCluster
from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.resource import Ref, Resource
from gitpulse_service.contract import DIRECTORY, DIRECTORY_CHANGES, DIRECTORY_SHARDS, is_complete
from harness.processes import wait_until

pytestmark = pytest.mark.cluster

WEBSITE, API = "gitpulseproject/website", "gitpulseproject/api"
A, REST = "gitpulse.io/shard=a", "gitpulse.io/shard!=a"


@pytest.fixture
def redis(operator):
    with redis_client.Redis.from_url(operator.redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def shard(place, operator):
    """Runs the operator of a selector, one of two."""
    return lambda selector: operator.one_of_many(place.namespace, GITPULSE_SHARD_SELECTOR=selector, GITPULSE_SHARDS="2")


def label(place, resource, shard):
    place.patch(resource, {"metadata": {"labels": {"gitpulse.io/shard": shard}}})


async def test_a_cluster_seen_through_a_selector_has_no_other_projects(place, operator):
    place.apply_examples()
    label(place, WEBSITE, "a")
    cluster = await KubeCluster.connect(str(operator.kubeconfig), namespaces=[place.namespace], selector=A)
    try:
        assert [Resource.from_body(body).ref.name for body in await cluster.bodies(PROJECT)] == ["website"]
        assert await cluster.read(Ref(PROJECT, place.namespace, "website"))
        assert await cluster.read(Ref(PROJECT, place.namespace, "api")) is None
        assert len(await cluster.bodies(CONNECTION)) == 1
        assert await cluster.read(Ref(CONNECTION, place.namespace, "gitlab"))
    finally:
        await cluster.close()


def complete(redis):
    return is_complete(redis.hvals(DIRECTORY_SHARDS))


def test_each_looks_after_its_own_and_the_directory_is_complete_when_both_have(place, shard, redis):
    place.apply_examples()
    label(place, WEBSITE, "a")
    with shard(A):
        place.wait(WEBSITE)
        wait_until(lambda: redis.hlen(DIRECTORY_SHARDS) == 1, what="its part of the directory")
        assert not complete(redis), "what the other one knows is not there yet"
        assert "target" not in place.get(API)["status"]
        assert "finalizers" not in place.get(API)["metadata"]
        with shard(REST):
            place.wait(API)
            wait_until(lambda: complete(redis), what="a complete directory")
            assert redis.hlen(DIRECTORY) == 2
            place.kubectl("delete", WEBSITE, API)
    assert place.hooks("website") == place.hooks("api", "acme/api") == []


def test_a_project_changes_hands_untouched_and_is_left_alone_by_the_first(place, shard, redis):
    place.apply_examples()
    label(place, WEBSITE, "a")
    label(place, API, "a")
    with shard(A):
        with shard(REST):
            place.wait(WEBSITE)
            place.wait(API)
            wait_until(lambda: complete(redis), what="a complete directory, though one has nothing to publish")
            redis.flushall()
            wait_until(lambda: complete(redis), what="the same after Redis lost its data", timeout=40)
            assert redis.hlen(DIRECTORY) == 2
            (hook,) = place.hooks("website")
            before, changes = copy.copy(hook), redis.xlen(DIRECTORY_CHANGES)
            label(place, WEBSITE, None)
            place.kubectl("annotate", WEBSITE, "gitpulse.io/reconcile-requested-at=1")
            wait_until(lambda: place.get(WEBSITE)["status"].get("lastHandledReconcileAt") == "1", what="a run")
            assert (place.hooks("website"), redis.xlen(DIRECTORY_CHANGES)) == ([before], changes)
        place.patch(WEBSITE, {"spec": {"events": ["TagPush"]}})
        place.patch("secret/gitlab-token", {"metadata": {"annotations": {"changed": "yes"}}})  # wakes all who use it
        place.patch(API, {"spec": {"events": ["Issue"]}})
        wait_until(lambda: place.hooks("api", "acme/api")[0].events == {"issues_events"}, what="its own is followed")
        assert hook.events == before.events, "what has left is not"
        with shard(REST):
            wait_until(lambda: hook.events == {"tag_push_events"}, what="the other one to follow")


def test_a_deletion_waits_for_its_own_operator_or_the_one_that_it_is_given_to(place, shard, redis):
    place.apply_examples()
    with shard(REST):
        place.wait(WEBSITE)
    with shard(A):
        place.kubectl("delete", WEBSITE, "--wait=false")
        label(place, API, "a")
        place.patch(API, {"spec": {"events": ["Issue"]}})
        wait_until(lambda: place.hooks("api", "acme/api")[0].events == {"issues_events"}, what="a run over its own")
        assert len(place.hooks("website")) == 1
        assert redis.hlen(DIRECTORY) == 2
        label(place, WEBSITE, "a")
        place.kubectl("wait", "--for=delete", WEBSITE, "--timeout=30s")
    assert place.hooks("website") == []
    assert redis.hlen(DIRECTORY) == 1
