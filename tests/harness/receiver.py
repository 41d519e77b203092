"""The receiver on a real uvicorn, in a thread of its own, and deliveries as GitLab sends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx2

from gitpulse_service.contract import WEBHOOK_PATH
from gitpulse_service.receiver import server
from gitpulse_service.settings import ServiceSettings
from harness.processes import answers, free_port, wait_until

T = TypeVar("T")

PUSH = {"object_kind": "push", "project": {"id": 1}, "commits": []}
SECRET = "s3cret-of-the-manual-hook"
"""What `settings` gives the hook that is configured by hand."""


def settings(redis_url: str, **fields: Any) -> ServiceSettings:
    """Settings with the manual hook's secret; other fields by their names."""
    return ServiceSettings.model_validate({"redis_url": redis_url, "GITLAB_WEBHOOK_SECRET": SECRET, **fields})


class Client(httpx2.AsyncClient):
    """Delivers to one receiver."""

    port: int

    async def deliver(
        self, hook_id: str = "", *, token: str = SECRET, name: str = "", body: Any = PUSH, **headers: str
    ) -> httpx2.Response:
        """One delivery; header names with underscores for hyphens, and an empty token for none."""
        sent = {"X-Gitlab-Event": "Push Hook", "Content-Type": "application/json"}
        sent |= {"X-Gitlab-Token": token} if token else {}
        sent |= {"Idempotency-Key": name} if name else {}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"{WEBHOOK_PATH}/{hook_id}" if hook_id else WEBHOOK_PATH
        return await self.post(path, content=content, headers=sent)


@contextlib.contextmanager
def serving(
    settings: ServiceSettings,
    *,
    metrics_port: int | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
) -> Iterator[int]:
    """Serves in a thread of its own until the block ends; yields the port, a free one unless it is given."""
    port, stop, ready = port or free_port(), asyncio.Event(), lambda: answers(port, host)

    async def serve() -> None:
        loop.set_result(asyncio.get_running_loop())
        await server.serve(settings, host=host, port=port, metrics_port=metrics_port, stop=stop)

    def run() -> None:
        try:
            done.set_result(asyncio.run(serve()))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the test must hear of it
            done.set_exception(error)

    loop: Future[asyncio.AbstractEventLoop] = Future()
    done: Future[None] = Future()
    # Not an executor's thread: that would be waited for without end where the server does not stop.
    threading.Thread(target=run, name="receiver", daemon=True).start()
    try:
        wait_until(lambda: done.done() or ready(), what="the receiver")
        yield port
    finally:
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself
            loop.result(30).call_soon_threadsafe(stop.set)
        done.result(30)


def client_of(port: int, host: str = "127.0.0.1") -> Client:
    """A client of the receiver on this port."""
    client = Client(base_url=f"http://{host}:{port}", timeout=20)
    client.port = port
    return client


@contextlib.asynccontextmanager
async def receiver(settings: ServiceSettings, *, metrics_port: int | None = None) -> AsyncIterator[Client]:
    """Serves, and a client of that."""
    with serving(settings, metrics_port=metrics_port) as port:
        async with client_of(port) as client:
            yield client


async def eventually(condition: Callable[[], Awaitable[T]], *, within: float = 5) -> T:
    """Awaits the condition until its value is truthy, and returns that."""
    deadline = time.monotonic() + within
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s"
        await asyncio.sleep(0.01)
    return value
