"""Traces through OpenTelemetry's API, for whoever installs an SDK: a span a delivery, and one a batch that links to it.

No span holds a secret, a body, or the text of an exception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.trace import Link, NoOpTracerProvider, ProxyTracerProvider, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_FIELD = "traceparent"
_propagator = TraceContextTextMapPropagator()


def wanted() -> bool:
    """Whether an SDK is set up. Without one a span leads nowhere, and costs a tenth of a delivery all the same."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider | NoOpTracerProvider)


def flush() -> None:
    """Has the SDK send what it holds, at most 2 s long: a signal ends a receiver before the SDK's own exit handler."""
    if force_flush := getattr(trace.get_tracer_provider(), "force_flush", None):  # the API itself knows no such thing
        force_flush(2000)


def current() -> str:
    """The current span as W3C's `traceparent`; empty if there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(_FIELD, "")


@contextlib.contextmanager
def accepting(hook_id: str, event: str) -> Iterator[Span]:
    """The span of one delivery in the receiver."""
    attributes = {"gitpulse.hook_id": hook_id[:64], "gitpulse.event": event[:64]}
    with _span("gitpulse.accept", SpanKind.SERVER, attributes, ()) as span:
        yield span


@contextlib.contextmanager
def draining(origins: Iterable[str]) -> Iterator[None]:
    """The span of a batch, linked to the deliveries in it by what `current` said when they were accepted."""
    if not wanted():
        yield
        return
    contexts = [trace.get_current_span(_propagator.extract({_FIELD: o})).get_span_context() for o in origins if o]
    links = [Link(context) for context in contexts if context.is_valid]
    with _span("gitpulse.drain", SpanKind.CONSUMER, {}, links):
        yield


@contextlib.contextmanager
def _span(name: str, kind: SpanKind, attributes: Mapping[str, str], links: Sequence[Link]) -> Iterator[Span]:
    with trace.get_tracer("gitpulse").start_as_current_span(
        name, kind=kind, attributes=attributes, links=links, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise
