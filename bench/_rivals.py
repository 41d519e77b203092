"""What the receiver is measured against: the handler that tutorials print, and a bare function on our script."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI, HTTPException, Request

from gitpulse_service.events.envelope import Envelope
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.settings import ServiceSettings


def plain() -> FastAPI:
    """FastAPI, `await request.json()`, the token compared with `!=`, one arq job an event."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.queue = await create_pool(RedisSettings.from_dsn(os.environ["GITPULSE_REDIS_URL"]))
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/v1/webhooks/gitlab")
    async def webhook(request: Request):
        if request.headers.get("X-Gitlab-Token") != os.environ["GITLAB_WEBHOOK_SECRET"]:
            raise HTTPException(401)
        payload = await request.json()
        job = await request.app.state.queue.enqueue_job("process", request.headers.get("X-Gitlab-Event"), payload)
        return {"status": "accepted", "job_id": job.job_id}

    return app


def bare():
    """A bare ASGI function: the same script, called once a request; no verification, no limits, no metrics."""
    log = RedisEventLog.from_settings(ServiceSettings.load())

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        name = dict(scope["headers"])[b"idempotency-key"].decode()
        envelope = Envelope("", name, "Push Hook", "", 0, int(time.time() * 1000), body)
        (receipt,) = await log.append([envelope])
        answer = b'{"status":"accepted","job_id":"%b"}' % receipt.job_id.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app
