"""The query API without a network, and clients of it."""

from __future__ import annotations

import contextlib

import httpx2
from fastapi import FastAPI

from gitpulse_service.metrics_api import PREFIX, Hub, Parts, create_api


async def silence():
    return
    yield


def application(engine, *, tokens_required=False, **parts):
    app = FastAPI(openapi_url=None)
    app.mount(PREFIX, create_api(Parts(engine, tokens_required, Hub(silence), **parts)))
    return app


@contextlib.asynccontextmanager
async def client_of(engine, **parts):
    """A client; paths go behind `/api/v1/`."""
    transport = httpx2.ASGITransport(app=application(engine, **parts))
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://gitpulse{PREFIX}/") as client:
        yield client


def problem(answer, status):
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["status"] == status
    return answer.json()["detail"]
