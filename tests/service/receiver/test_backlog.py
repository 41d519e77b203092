"""What waits can be seen at every receiver, with no worker anywhere, and through an outage."""

import importlib.metadata

import pytest
from prometheus_client import REGISTRY

import gitpulse_operator.metrics
import gitpulse_service.metrics
from gitpulse_service.log.redis_log import partition_of
from gitpulse_service.receiver import backlog
from harness.processes import free_port
from harness.receiver import eventually, receiver, settings
from harness.redis import redis_server

PARTITION = {"partition": str(partition_of("", 16))}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(backlog, "PAUSE", 0.05)


def sample(name, **labels):
    return REGISTRY.get_sample_value(f"gitpulse_{name}", labels)


async def becomes(value, name, **labels):
    async def check():
        return sample(name, **labels) == value

    await eventually(check)


async def test_what_waits_is_seen_through_an_outage(tmp_path):
    port = free_port()
    buried = sample("dead_letters_buried_total", reason="not_json") or 0
    limits = {"max_backlog": 1000, "max_backlog_bytes": 1024**2}
    async with receiver(settings(f"redis://127.0.0.1:{port}/0", **limits)) as client:
        await becomes(0, "event_log_reachable")
        with redis_server(tmp_path, port=port, appendonly=True):
            await becomes(1, "event_log_reachable")
            await becomes(0, "backlog_deliveries", **PARTITION)
            for name in "abc":
                assert (await client.deliver(name=name)).status_code == 200
            assert (await client.deliver(body=b"{")).status_code == 400
            await becomes(3, "backlog_deliveries", **PARTITION)
            await becomes(1, "dead_letters")
            assert sample("dead_letters_buried_total", reason="not_json") == buried + 1
            assert sample("backlog_bytes") > 100
            assert sample("backlog_full_ratio") == max(3 / 1000, sample("backlog_bytes") / 1024**2)

            async def grows_old():
                return 0 < sample("backlog_oldest_seconds", **PARTITION) < 60

            await eventually(grows_old)
        await becomes(0, "event_log_reachable")
        assert sample("backlog_deliveries", **PARTITION) == 3
        with redis_server(tmp_path, port=port, appendonly=True):
            await becomes(1, "event_log_reachable")
            await becomes(3, "backlog_deliveries", **PARTITION)


@pytest.mark.parametrize("component", ["receiver", "worker", "operator"])
def test_every_process_says_what_it_is_and_which_version(component):
    port = free_port()
    version = importlib.metadata.version("gitpulse")
    expose = gitpulse_service.metrics.exposed
    serving = gitpulse_operator.metrics.serve_metrics(port) if component == "operator" else expose(component, port)
    gitpulse_service.metrics.BUILD_INFO.clear()
    with serving:
        assert sample("build_info", component=component, version=version) == 1
    assert gitpulse_operator.metrics.BUILD_INFO is gitpulse_service.metrics.BUILD_INFO
