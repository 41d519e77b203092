"""A Kubernetes Lease, so that of several operators one works and the others stand by. See docs/decisions/0009."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from datetime import UTC, datetime

from kubernetes.aio import client

from gitpulse_operator.adapters.kube import AlreadyThere, KubeCluster, found, reached
from gitpulse_operator.errors import ClusterUnavailable

logger = logging.getLogger(__name__)

DURATION = 12.0
"""Seconds without a renewal after which another one takes it, by the other's own clock."""
DEADLINE = 6.0
"""Seconds without a renewal after which the holder does not try again: it has ended two tries' time later at most."""
RETRY = 2.0
"""Seconds that one try may take, and between tries."""


class Lease:
    """One Lease, and one who wants it."""

    def __init__(self, cluster: KubeCluster, lease: str) -> None:
        """`lease` is `namespace/name`."""
        self._lease = lease
        self._namespace, _, self._name = lease.partition("/")
        self._leases = client.CoordinationV1Api(cluster.api)
        self._me = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._seen: tuple[object, object] = (None, None)
        self._changed = 0.0

    async def acquire(self) -> None:
        """Stands by until it is ours. Raises nothing: an API that does not answer is asked again."""
        logger.info("standing by for the Lease %s", self._lease)
        while not await self._try(self._me):  # noqa: ASYNC110 - what is waited for is elsewhere
            await asyncio.sleep(RETRY)
        logger.info("this operator works now, as %s", self._me)

    async def keep(self) -> None:
        """Renews it until it is cancelled. If that fails the process ends on the spot, with all that is under way."""
        renewed = time.monotonic()
        while (begun := time.monotonic()) < renewed + DEADLINE:
            if await self._try(self._me):
                renewed = begun
            elif self._seen[0] != self._me:
                break
            await asyncio.sleep(RETRY)
        logger.critical("lost the Lease %s: another operator may be at work, so this one ends", self._lease)
        os._exit(1)

    async def release(self) -> None:
        """Gives it back, so that another one need not wait."""
        await self._try("")

    async def _try(self, holder: str) -> bool:
        """Takes, renews or frees it. False: it is another's, or the API does not answer."""
        try:
            async with asyncio.timeout(RETRY):
                return await self._write(holder)
        except AlreadyThere:  # somebody was faster
            return False
        except (ClusterUnavailable, TimeoutError) as error:
            logger.warning("the Lease %s cannot be had: %s", self._lease, str(error) or "no answer")
            return False

    async def _write(self, holder: str) -> bool:
        lease = await found(self._leases.read_namespaced_lease(self._name, self._namespace))
        spec = lease.spec if lease and lease.spec else client.V1LeaseSpec()
        now, seen = datetime.now(UTC), (spec.holder_identity, spec.renew_time)
        if seen != self._seen:
            self._seen, self._changed = seen, time.monotonic()
        if spec.holder_identity not in (None, "", self._me) and time.monotonic() < self._changed + DURATION:
            return False
        if spec.holder_identity != holder:
            spec.acquire_time, spec.lease_transitions = now, (spec.lease_transitions or 0) + 1
        spec.holder_identity, spec.renew_time, spec.lease_duration_seconds = holder, now, int(DURATION)
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=self._name), spec=spec)
        if lease is None:
            await reached(self._leases.create_namespaced_lease(self._namespace, body))
        else:  # refused if another one has written since we read it
            body.metadata = lease.metadata
            await reached(self._leases.replace_namespaced_lease(self._name, self._namespace, body))
        self._seen = (holder, now)
        return True
