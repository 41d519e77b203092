"""By which access each GitLab may be asked: those that the operator grants, and the settings' own."""

from __future__ import annotations

import logging
from typing import Any, Self

from redis.asyncio import Redis

from gitpulse_service.contract import ACCESSES, DIRECTORY, Access, Unsealable, seal, unseal
from gitpulse_service.log.connection import log_errors
from gitpulse_service.settings import ServiceSettings

logger = logging.getLogger(__name__)


class Accesses:
    """Raises LogUnavailable. Whoever made the client closes it."""

    def __init__(self, client: Redis, installation_key: bytes | None, own: Access | None = None) -> None:
        self._redis: Any = client
        self._key = installation_key
        self._own = own
        self._refused: set[str] = set()

    @classmethod
    def from_settings(cls, client: Redis, settings: ServiceSettings) -> Self:
        """With the GitLab of hooks made by hand."""
        url, token = settings.gitlab_url, settings.gitlab_token.get_secret_value()
        own = Access("", url, token, rate=settings.gitlab_requests_per_second) if url else None
        return cls(client, settings.installation_key, own)

    async def all(self) -> dict[str, Access]:
        """By name. Of one that we cannot open the log tells once."""
        with log_errors():
            granted = await self._redis.hgetall(ACCESSES)
        found = [self._open(name.decode(), sealed) for name, sealed in sorted(granted.items())]
        return {access.name: access for access in (self._own, *found) if access}

    async def choose(self, instance: str, hook_id: str) -> Access | None:
        """That of the hook's connection, or this one itself; where neither is known, any to this GitLab."""
        known = {name: access for name, access in (await self.all()).items() if access.instance == instance}
        return known.get(hook_id) or known.get(await self._connection(hook_id)) or next(iter(known.values()), None)

    async def grant(self, access: Access) -> None:
        """Lets workers use it; needs the key."""
        assert self._key
        with log_errors():
            await self._redis.hset(ACCESSES, access.name, seal(self._key, access))

    async def _connection(self, hook_id: str) -> str:
        with log_errors():
            sealed = await self._redis.hget(DIRECTORY, hook_id)
        try:
            return unseal(self._key or b"", hook_id, sealed).connection if sealed else ""
        except Unsealable:
            return ""

    def _open(self, name: str, sealed: bytes) -> Access | None:
        try:
            return unseal(self._key or b"", name, sealed, Access)
        except Unsealable as error:
            if name not in self._refused:
                why = error if self._key else "set GITPULSE_INSTALLATION_KEY to the operator's own key"
                logger.error("GitLab is left to other workers: connection %s: %s", name, why)  # noqa: TRY400
            self._refused.add(name)
            return None
