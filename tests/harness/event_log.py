"""An event log with limits that suit tests."""

from __future__ import annotations

from gitpulse_service.log.connection import connect
from gitpulse_service.log.redis_log import RedisEventLog


def open_log(
    url: str,
    *,
    partitions: int = 4,
    max_backlog: int = 1000,
    max_backlog_bytes: int = 1 << 30,
    claim_idle: float = 30,
    dedupe_window: int = 60,
) -> RedisEventLog:
    return RedisEventLog(
        connect(url),
        partitions=partitions,
        dedupe_window=dedupe_window,
        max_backlog=max_backlog,
        max_backlog_bytes=max_backlog_bytes,
        claim_idle=claim_idle,
    )
