"""Puts the parts together around a cluster, which may be Kubernetes or a folder."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from gitpulse_operator.adapters.directory import RedisDirectory
from gitpulse_operator.adapters.gitlab import GitLabs
from gitpulse_operator.domain.rotation import Pace
from gitpulse_operator.reconcile.connections import OpenConnections
from gitpulse_operator.reconcile.ports import Cluster, World
from gitpulse_operator.settings import OperatorSettings


@contextlib.asynccontextmanager
async def assembled(settings: OperatorSettings, cluster: Cluster) -> AsyncIterator[World]:
    """All that reconciling needs, until the block ends."""
    gitlabs = GitLabs(timeout=settings.gitlab_timeout, threads=settings.gitlab_threads)
    directory = RedisDirectory(
        settings.redis_url, settings.installation_key, shard=settings.shard_selector, shards=settings.shards
    )
    try:
        yield World(
            cluster=cluster,
            connections=OpenConnections(cluster, gitlabs.connect),
            directory=directory,
            installation_key=settings.installation_key,
            public_url=settings.public_url,
            deletion_deadline=settings.deletion_deadline,
            pace=Pace(timedelta(seconds=settings.proof_patience), timedelta(seconds=settings.rotation_deadline)),
            clock=lambda: datetime.now(UTC),
            entropy=secrets.token_bytes,
            history=timedelta(days=settings.backfill_days),
        )
    finally:
        gitlabs.close()
        await directory.close()
