"""How the service talks to Redis: short timeouts, no retries of its own, and one error for all that can go wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gitpulse_service.errors import LogFull, LogUnavailable

CONNECT_TIMEOUT = 1.0
"""Seconds. GitLab waits ten for the whole delivery, and a late 503 helps nobody."""
ANSWER_TIMEOUT = 2.0
"""Seconds for one call."""


def connect(url: str, *, answer_timeout: float = ANSWER_TIMEOUT) -> Redis:
    """A client that connects when it is first used; the caller closes it.

    A call that failed may have been run, so nothing is tried twice here. Replies have the shape of RESP2 in every
    version of the library.
    """
    client: Redis = Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=answer_timeout,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return client


@contextlib.contextmanager
def log_errors() -> Iterator[None]:
    """Turns what Redis and the network raise into `LogUnavailable`, or `LogFull` when Redis has no memory left."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        text = str(error) or type(error).__name__
        if "OOM " in text:  # inside a script's error text when a script was refused
            raise LogFull("Redis is out of memory: give it more, or let the workers catch up") from error
        raise LogUnavailable(f"Redis cannot be used: {text}") from error
