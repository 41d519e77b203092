"""The hooks that the operator looks after, with what receivers have noted of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from gitpulse_service.contract import HOOKS, HookReport, feedback_key
from gitpulse_service.log.connection import log_errors


class Hooks:
    """Raises LogUnavailable. Whoever made the client closes it."""

    def __init__(self, client: Redis) -> None:
        self._redis: Any = client

    async def shown(self) -> list[dict[str, Any]]:
        """All of them as the query API shows them. An id that opens a hook's URL is not among it."""
        with log_errors():
            told = await self._redis.hvals(HOOKS)
        reports = [msgspec.json.decode(each, type=HookReport) for each in told]
        async with self._redis.pipeline(transaction=False) as together:
            for report in reports:
                together.hgetall(feedback_key(report.hook_id))
            with log_errors():
                notes = await together.execute()
        return [_shown(*each) for each in zip(reports, notes, strict=True)]


def _shown(it: HookReport, notes: Mapping[bytes, bytes]) -> dict[str, Any]:
    accepted = (value for name, value in notes.items() if name.startswith(b"accepted:"))
    return {
        **{name: getattr(it, name) for name in ("resource", "state", "reason", "message")},
        **{name: getattr(it, name) or None for name in ("instance", "kind", "path")},
        "hook": it.number or None,
        "url": _url(it),
        "last_delivery_at": _newest(accepted),
        "last_refused_at": _newest(filter(None, [notes.get(b"refused")])),
        "refused_reason": notes.get(b"refused:reason", b"").decode() or None,
        **{name: getattr(it, name) for name in ("secret", "revivals", "repair")},
    }


def _url(it: HookReport) -> str | None:
    place = f"groups/{it.path}" if it.kind == "Group" else it.path
    return f"{it.instance}/{place}/-/hooks/{it.number}/edit" if it.number else None


def _newest(moments: Iterable[bytes]) -> datetime | None:
    """Of Unix milliseconds."""
    newest = max(map(int, moments), default=None)
    return None if newest is None else datetime.fromtimestamp(newest / 1000, UTC)
