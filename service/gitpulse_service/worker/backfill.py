"""Fetches what GitLab sent nobody, a page at a time, and counts it as if it had been delivered.

Each page is written in one transaction, and then it is noted where to go on. Cut off in between, the page is read and
written again, which changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service import metrics
from gitpulse_service.contract import Backfill, Filling
from gitpulse_service.errors import GitLabFailed, StoreRefused, Undecodable
from gitpulse_service.events.decode import Event, decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.fetched import KINDS, Kind, Row, delivery
from gitpulse_service.events.timestamps import parse
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.store.write import apply
from gitpulse_service.worker.gitlab_api import get

logger = logging.getLogger(__name__)

PAGE = 100
"""Rows a page, the most that GitLab gives."""
ACTIVITY_NOTED = timedelta(hours=2)
"""GitLab notes a project's last activity once an hour; a project that slept since before is left out."""
PROJECTS = {"include_subgroups": "true", "simple": "true", "order_by": "id", "sort": "asc", "per_page": PAGE}
NOT_THERE = (403, 404)
"""Answered for what a project has not: no repository yet, issues or CI switched off."""


class Backfiller:
    """One process's backfills. Only one process has its turn at a time, so that a GitLab is asked by one."""

    def __init__(self, backfills: Backfills, engine: AsyncEngine) -> None:
        self._backfills = backfills
        self._engine = engine
        self._waits: dict[str, float] = {}

    async def run(self, *, seconds: float) -> None:
        """Goes on with all that is wanted, until the time is up. Raises LogUnavailable, StoreUnavailable."""
        end = time.monotonic() + seconds
        for sealed, request in await self._backfills.pending():
            if self._waits.get(request.instance, 0.0) > time.monotonic():
                continue
            filling = await self._backfills.filling(request)
            try:
                async for filling in self._fill(request, filling):  # noqa: B020
                    if not await self._backfills.save(request.hook_id, sealed, filling) or time.monotonic() > end:
                        break
            except (GitLabFailed, StoreRefused) as error:
                if isinstance(error, GitLabFailed) and not 300 <= error.status < 500:
                    self._waits[request.instance] = time.monotonic() + error.retry_after
                    logger.warning("%s waits for %.0f s: %s", request, error.retry_after, error)
                    continue
                filling = replace(filling, state="Failed", error=str(error))
                await self._backfills.save(request.hook_id, sealed, filling)
            if filling.state != "Running":
                metrics.BACKFILLS.labels(filling.state.lower()).inc()
                logger.info("%s: %s %s %s", request, filling.state, filling.counts, filling.error)

    async def _fill(self, request: Backfill, filling: Filling) -> AsyncIterator[Filling]:
        """What to note after each page."""
        async for page, project, slept in _projects(request, filling):
            while filling.kind < len(KINDS) and not slept:
                name, kind = list(KINDS.items())[filling.kind]
                rows = await _rows(kind, project, request, filling.page)
                changed = await apply(self._engine, _deliveries(kind, rows, project, request))
                counts = {**filling.counts, name: filling.counts.get(name, 0) + changed.get(kind.table, 0)}
                more = len(rows) == PAGE
                at, number = (filling.kind, filling.page + 1) if more else (filling.kind + 1, 1)
                filling = replace(filling, counts=counts, projects=page, kind=at, page=number)
                yield filling
            filling = replace(filling, done=int(project["id"]), projects=page, kind=0, page=1)
            yield filling
        yield replace(filling, state="Done")


async def _projects(request: Backfill, filling: Filling) -> AsyncIterator[tuple[int, Row, bool]]:
    """Those that are not done: on which page of the list, and whether it slept through the gap.

    A page is read until it shows nothing new: where a project before it is deleted, another one moves up.
    """
    kind, _, number = request.parent.partition("/")
    page, done, active = filling.projects, filling.done, _moment(request.since) - ACTIVITY_NOTED
    if kind == "project" and not done:
        yield page, await get(request, f"/projects/{number}", {}), False
    while kind == "group":
        rows = await get(request, f"/groups/{number}/projects", {**PROJECTS, "page": page})
        fresh = [row for row in rows if row["id"] > done]
        for row in fresh:
            done = row["id"]
            yield page, row, parse(row["last_activity_at"]) < active
        if len(rows) < PAGE:
            return
        page += not fresh


async def _rows(kind: Kind, project: Row, request: Backfill, page: int) -> Any:  # noqa: ANN401 - JSON
    query = {**kind.asked(_moment(request.since)), "page": page, "per_page": PAGE}
    try:
        return await get(request, f"/projects/{project['id']}/{kind.path}", query)
    except GitLabFailed as error:
        if error.status in NOT_THERE:
            return ()
        raise


def _deliveries(
    kind: Kind, rows: Iterable[Row], project: Row, request: Backfill
) -> Iterator[tuple[Envelope, Event | None]]:
    for row in rows:
        try:
            gap = _moment(request.since), _moment(request.until)
            if found := delivery(kind, row, project, request.hook_id, request.instance, gap):
                yield found, decode(found)
        except (Undecodable, KeyError, TypeError, ValueError) as error:
            logger.warning("a row of %s/%s is left out: %r", project["web_url"], kind.path, error)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
