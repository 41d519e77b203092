"""What teams did of late, for Prometheus: opt-in, of a few metrics, and never more series than were allowed."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service import metrics
from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.store import queries
from gitpulse_service.store.engine import reading
from gitpulse_service.store.roster import team
from gitpulse_service.store.spans import Span

logger = logging.getLogger(__name__)

SPAN = timedelta(days=7)
COUNTED = ("commits", "merge_requests_opened", "merge_requests_merged", "reviews", "issues_closed", "deployments")
"""Exported as `gitpulse_team_count`."""
MEASURED = ("time_to_merge", "time_to_first_review", "lead_time_for_changes", "time_to_restore")
"""Exported as `gitpulse_team_median_seconds`."""


EVERY = 300
"""Seconds between two looks."""


async def keep(engine: AsyncEngine, most: int) -> None:
    """Keeps this process's series up to date until it is cancelled; each worker has its own."""
    while True:
        try:
            await export(engine, most)
        except StoreUnavailable as error:
            logger.warning("the series about teams stay as they are: %s", error)
        await asyncio.sleep(EVERY)


async def export(engine: AsyncEngine, most: int) -> None:
    """Puts the series, at most so many, in the place of those before. Raises StoreUnavailable."""
    now = datetime.now(UTC).replace(microsecond=0)
    async with reading(engine) as connection:
        teams = sorted((await connection.execute(sa.select(team.c.name))).scalars())
    found: dict[tuple[str, str], float] = {}
    for metric in (*COUNTED, *MEASURED):
        points = {it.group: it for it in await queries.series(engine, metric, Span(now - SPAN, now), group="team")}
        if metric in COUNTED:
            found |= {(name, metric): points[name].count if name in points else 0 for name in teams}
        else:
            found |= {(name, metric): it.p50 for name in teams if (it := points.get(name)) and it.p50 is not None}
    # By team, so that whole teams are left out, and always the same ones.
    shown = dict(sorted(found.items())[:most])
    metrics.TEAM_SERIES_LEFT_OUT.set(len(found) - len(shown))
    for gauge, names in ((metrics.TEAM_COUNT, COUNTED), (metrics.TEAM_MEDIAN, MEASURED)):
        gauge.clear()
        for (name, metric), value in shown.items():
            if metric in names:
                gauge.labels(name, metric).set(value)
