"""Traces with the real SDK: a span a delivery, a span a batch with links to them, and nothing without an SDK."""

import asyncio
from contextlib import aclosing

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.receiver.app import create_app
from gitpulse_service.receiver.webhook import Webhook
from gitpulse_service.store.engine import create_engine
from gitpulse_service.worker.drain import Drain, Limits
from harness.event_log import open_log
from harness.processes import free_port
from harness.receiver import SECRET, eventually, receiver, settings


@pytest.fixture
def sdk(monkeypatch):
    """Sets up an SDK as `opentelemetry-instrument` does, for this test alone."""

    def set_up(*, processor=SimpleSpanProcessor, **options):
        exporter, provider = InMemorySpanExporter(), TracerProvider(**options, shutdown_on_exit=False)
        provider.add_span_processor(processor(exporter))
        providers.append(provider)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        return exporter

    providers = []
    yield set_up
    for provider in providers:
        provider.shutdown()


async def test_a_batch_links_to_the_deliveries_in_it(sdk, redis_url, engine):
    exporter = sdk()
    async with receiver(settings(redis_url)) as client:
        for name in ("a", "b", "b"):
            assert (await client.deliver(name=name)).status_code == 200
    accepted = exporter.get_finished_spans()
    assert [(s.name, s.kind, dict(s.attributes)) for s in accepted] == [
        (
            "gitpulse.accept",
            SpanKind.SERVER,
            {
                "gitpulse.hook_id": "",
                "gitpulse.event": "Push Hook",
                "http.response.status_code": 200,
                "gitpulse.outcome": outcome,
                "gitpulse.reason": "",
            },
        )
        for outcome in ("accepted", "accepted", "duplicate")
    ]
    exporter.clear()
    async with aclosing(open_log(redis_url, partitions=16)) as log:
        drain = Drain(log, engine, consumer="one", limits=Limits(100, 10**6))
        for partition in range(16):
            assert await drain.run(partition, seconds=10)
    (batch,) = exporter.get_finished_spans()
    assert (batch.name, batch.kind) == ("gitpulse.drain", SpanKind.CONSUMER)
    assert [link.context.span_id for link in batch.links] == [span.context.span_id for span in accepted[:2]]
    assert [link.context.trace_id for link in batch.links] == [span.context.trace_id for span in accepted[:2]]


async def test_what_is_refused_has_a_span_that_says_why_and_no_secret(sdk, redis_url):
    exporter = sdk()
    async with receiver(settings(redis_url)) as client:
        await client.deliver(token="wrong-" + SECRET, body={"object_kind": "push", "very": "private"})
        await client.deliver(body=b"not json, private", X_Gitlab_Event="E" * 999)
        await client.deliver("h" * 999)
    texts = [span.to_json() for span in exporter.get_finished_spans()]
    outcomes = [
        (s.attributes["gitpulse.outcome"], s.attributes["gitpulse.reason"]) for s in exporter.get_finished_spans()
    ]
    assert outcomes == [("error", "wrong_token"), ("error", "not_json"), ("error", "unknown_hook")]
    for text in texts:
        assert SECRET not in text
        assert "private" not in text
        assert "E" * 65 not in text
        assert "h" * 65 not in text


async def test_a_failure_is_one_in_the_trace(sdk):
    exporter = sdk()
    async with receiver(settings(f"redis://127.0.0.1:{free_port()}/0")) as client:
        assert (await client.deliver()).status_code == 503
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "LogUnavailable")
    assert not span.events


async def test_a_client_that_leaves_is_a_span_too(sdk, redis_url):
    exporter = sdk()
    async with receiver(settings(redis_url)) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /api/v1/webhooks/gitlab HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await writer.drain()
        writer.close()

        async def ended():
            return exporter.get_finished_spans()

        (span,) = await eventually(ended)
    assert span.status.description == "ClientGone"


async def test_a_batch_that_the_database_cannot_take_is_said_without_its_words(sdk, redis_url):
    exporter = sdk()
    async with receiver(settings(redis_url)) as client:
        await client.deliver()
    exporter.clear()
    away = create_engine("sqlite:////nowhere/gitpulse.db")
    async with aclosing(open_log(redis_url, partitions=16)) as log:
        (partition,) = (p for p, waiting in (await log.backlog()).items() if waiting)
        with pytest.raises(StoreUnavailable):
            await Drain(log, away, consumer="one", limits=Limits(9, 99)).run(partition, seconds=10)
    await away.dispose()
    (span,) = exporter.get_finished_spans()
    assert (span.status.description, span.events) == ("StoreUnavailable", ())


async def test_a_delivery_that_was_not_sampled_is_linked_to_nothing_that_is(sdk, redis_url):
    exporter = sdk(sampler=ALWAYS_OFF)
    async with receiver(settings(redis_url)) as client:
        assert (await client.deliver()).status_code == 200
    assert not exporter.get_finished_spans()


async def test_a_receiver_that_stops_sends_what_it_holds(sdk, redis_url):
    exporter = sdk(processor=lambda exporter: BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    async with receiver(settings(redis_url)) as client:
        await client.deliver()
        assert not exporter.get_finished_spans()
    assert len(exporter.get_finished_spans()) == 1


def test_without_an_sdk_the_endpoint_knows_nothing_of_traces(redis_url):
    assert type(create_app(settings(redis_url), metrics_port=None).webhook) is Webhook
