"""The operator on a real Kubernetes API with a budget that is too small: what goes first, and what it tells of that."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY

from harness.cluster import eventually

pytestmark = pytest.mark.cluster


async def test_a_deletion_and_what_is_asked_for_go_before_resyncs(cluster):
    """Twenty resyncs a second on a budget of four requests."""
    cluster.settings = cluster.settings.model_copy(update={"resync_interval": 1.0})
    hooks = cluster.simulator.website.hooks

    def left() -> float | None:
        return REGISTRY.get_sample_value("gitpulse_gitlab_budget_left", {"connection": f"{cluster.namespace}/gitlab"})

    def tells_of_tags(number: int) -> bool:
        names = {str(hook.name).rpartition("/")[2] for hook in list(hooks.values()) if "tag_push_events" in hook.events}
        return f"website-{number}" in names

    async with cluster.operator():
        cluster.apply_connection(requestsPerSecond=200)
        for number in range(20):
            cluster.apply_project(f"website-{number}")
        for number in range(20):
            await eventually(lambda n=number: cluster.is_ready(f"website-{n}"), what="ready")
        cluster.apply_connection(requestsPerSecond=4)
        await eventually(lambda: left() == 0, what="a budget that is used up")
        cluster.apply_project()
        await eventually(cluster.is_ready, what="ready, by about four requests", within=6)
        for number in range(5):  # whose own resyncs wait at that moment
            cluster.apply_project(f"website-{number}", events=["TagPush"])
            await eventually(lambda n=number: tells_of_tags(n), what="the change", within=3)
        cluster.delete("gitpulseproject/website")
        await eventually(lambda: cluster.get("gitpulseproject", "website") is None, what="gone", within=4)
        assert left() == 0
        assert REGISTRY.get_sample_value("gitpulse_workqueue_queue_duration_seconds_count") > 20
        cluster.delete("gitlabconnection/gitlab")
        await eventually(lambda: left() is None, what="no budget any more")


async def test_what_was_seen_is_no_news(cluster, caplog):
    caplog.set_level(logging.INFO)
    async with cluster.looked_after():
        pass
    assert "all routes are published" in caplog.messages
    assert [record.getMessage() for record in caplog.records if record.name == "kopf.objects"] == []
