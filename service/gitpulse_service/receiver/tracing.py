"""The webhook's endpoint where an OpenTelemetry SDK is set up: the same, with a span a delivery."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import StatusCode
from starlette.types import Receive, Scope

from gitpulse_service import traces
from gitpulse_service.receiver.answers import Answer
from gitpulse_service.receiver.webhook import Webhook


def endpoint() -> type[Webhook]:
    """Without an SDK it is the plain one, on whose way there is nothing of this."""
    return TracedWebhook if traces.wanted() else Webhook


class TracedWebhook(Webhook):
    """Says with each delivery which hook, event and outcome it was; and to the log, which span."""

    async def _answer(self, hook_id: str, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        with traces.accepting(hook_id, headers.get(b"x-gitlab-event", b"").decode("latin-1")) as span:
            answer = await super()._answer(hook_id, scope, headers, receive)
            span.set_attribute("http.response.status_code", answer.status)
            span.set_attribute("gitpulse.outcome", answer.outcome)
            span.set_attribute("gitpulse.reason", answer.reason)
            if answer.status >= 500:
                span.set_status(StatusCode.ERROR, answer.reason)
            return answer

    def _span(self) -> str:
        return traces.current()
