"""How the service talks to Redis: short timeouts, no retries of its own, and one error for all that can go wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,  # noqa: A004
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TimeoutError as NoAnswer,
)

from gitpulse_service.contract import sentinels
from gitpulse_service.errors import LogFull, LogUnavailable

CONNECT_TIMEOUT = 1.0
"""Seconds. GitLab waits ten for the whole delivery, and a late 503 helps nobody."""
ANSWER_TIMEOUT = 2.0
"""Seconds for one call."""
SENTINEL_TIMEOUT = 0.5
"""Seconds for one sentinel; then the next one is asked."""


def connect(url: str, *, answer_timeout: float = ANSWER_TIMEOUT) -> Redis:
    """A client that connects when it is first used; the caller closes it. Behind Sentinel it finds the master.

    A call that failed may have been run, so nothing is tried twice here. Replies have the shape of RESP2 in every
    version of the library.
    """
    once: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2}
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": answer_timeout,
        "health_check_interval": 0,
        **once,
    }
    if not url.startswith("unix:"):  # whose connections know no such option
        options["socket_keepalive"] = True
    client: Redis
    if place := sentinels(url):
        asking: dict[str, Any] = {
            "socket_connect_timeout": SENTINEL_TIMEOUT,
            "socket_timeout": SENTINEL_TIMEOUT,
            **once,
        }
        asking |= place.sentinel_options
        sentinel: Any = Sentinel(place.hosts, sentinel_kwargs=asking, **place.options, **options)  # type: ignore[no-untyped-call, unused-ignore]
        client = sentinel.master_for(place.master, connection_pool_class=_MasterPool)
    else:
        client = Redis.from_url(url, **options)
    pool: Any = client.connection_pool
    pool.connection_class = type("Connection", (_ToMaster, pool.connection_class), {})
    return client


class _ToMaster(AbstractConnection):
    """Ends when the server turns out to be a replica by now, so that the next call looks for the master.

    A script's error says so inside its text alone, where redis-py does not look for it. A late answer ends it too.
    """

    async def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 -- redis-py's own
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if "READONLY" in str(error):
                await self.disconnect()
            raise
        except NoAnswer as error:  # redis-py ends a pipeline for the one below alone, else it keeps the connection
            raise ConnectionError(str(error)) from error


class _MasterPool(SentinelConnectionPool):
    """Takes the connections to the sentinels with it, which redis-py leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


@contextlib.contextmanager
def log_errors() -> Iterator[None]:
    """Turns what Redis and the network raise into `LogUnavailable`, or `LogFull` when Redis has no memory left."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        text = str(error) or type(error).__name__
        if (
            isinstance(error, OutOfMemoryError) or "OOM " in text
        ):  # inside a script's error text when a script was refused
            raise LogFull("Redis is out of memory: give it more, or let the workers catch up") from error
        raise LogUnavailable(f"Redis cannot be used: {text}") from error
