"""The API is what its OpenAPI document says: schemathesis asks all that it allows, and all that it does not."""

from __future__ import annotations

import asyncio

import schemathesis.engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from gitpulse_service.metrics_api import PREFIX
from gitpulse_service.store import tokens
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from harness import office
from harness.receiver import serving, settings

EXAMPLES = 12
"""Questions of each kind for each route."""


def config(token):
    return SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Bearer {token}"},
            "generation": {"mode": "all", "max-examples": EXAMPLES, "deterministic": True, "database": "none"},
            "continue-on-failure": True,
            "request-timeout": 10,
            "checks": {
                # 400 is for what the schema can say, 422 for what it cannot: that `from` is before `to`.
                "positive_data_acceptance": {"expected-statuses": ["2xx", 404, 422]},
                "negative_data_rejection": {"expected-statuses": [400, 404, 405]},
            },
            "operations": [{"include-path": "/live", "enabled": False}],  # has no end
        }
    )


def test_schemathesis_finds_nothing(database_url, redis_url):
    async def settle():
        engine = create_engine(database_url)
        await migrate(engine)
        await office.settle(engine)
        secret = await tokens.create(engine, "schemathesis", None, None)
        await engine.dispose()
        return secret

    token = asyncio.run(settle())
    with serving(settings(redis_url, database_url=database_url)) as port:
        url = f"http://127.0.0.1:{port}{PREFIX}/openapi.json"
        schema = schemathesis.openapi.from_url(url, config=config(token))
        found = list(schemathesis.engine.from_schema(schema).execute())
    failures, asked = [], 0
    for event in found:
        if isinstance(event, events.ScenarioFinished):
            asked += len(event.recorder.cases)
            failures += [
                f"{event.label}: {check.name}: {check.failure_info.failure.message} {check.failure_info.code_sample}"
                for checks in event.recorder.checks.values()
                for check in checks
                if check.failure_info
            ]
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            failures.append(repr(event))
    assert not failures, "\n".join(failures)
    assert asked > 500
