"""What is asked of one GitLab, and in which order: what deliveries did not tell, then what a backfill has to list.

Each answer is written in one transaction with the deletion of its question; cut off before, it is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service import metrics
from gitpulse_service.contract import Access, Backfill
from gitpulse_service.errors import GitLabFailed, StoreRefused, Undecodable
from gitpulse_service.events.decode import decode
from gitpulse_service.log.accesses import Accesses
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.live import Live
from gitpulse_service.store import todo
from gitpulse_service.store.compare import differing
from gitpulse_service.store.engine import writing
from gitpulse_service.store.todo import Task
from gitpulse_service.store.write import put, told
from gitpulse_service.worker.backfill import Backfiller
from gitpulse_service.worker.completion import KINDS, Answer, Asking
from gitpulse_service.worker.gitlab_api import GitLab

logger = logging.getLogger(__name__)

AT_ONCE = 20
"""Questions that are taken up at one time; only then is it looked whether there are more urgent ones."""
LONGEST = 45.0
"""Seconds for all requests that one question takes."""
PATIENCE = 30.0
"""Seconds for which a project, or backfill, is left alone that GitLab could not tell of."""
MORE_PATIENCE = 4 * PATIENCE
"""The same for the question itself, so that it does not hold up the project's others."""
GIVEN_UP_AFTER = CHECKED = timedelta(days=7)
"""How long GitLab is asked the same; how much of the past a check looks at."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class Fetcher:
    """One process's. Only one process at a time asks a GitLab."""

    def __init__(
        self,
        accesses: Accesses,
        backfills: Backfills,
        engine: AsyncEngine,
        live: Live,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._now = clock
        self._live = live
        self._accesses = accesses
        self._backfills = backfills
        self._backfiller = Backfiller(backfills, engine, live)
        self._engine = engine
        self._gitlabs: dict[Access, GitLab] = {}
        self._waits: dict[int | str | Task, float] = {}

    def close(self) -> None:
        """Closes the connections."""
        for gitlab in self._gitlabs.values():
            gitlab.close()

    async def instances(self) -> set[str]:
        """Whom we may ask; notes how much there is to ask. Raises LogUnavailable, StoreUnavailable."""
        metrics.COMPLETION_BACKLOG.clear()
        for kind, count in (await todo.backlog(self._engine)).items():
            metrics.COMPLETION_BACKLOG.labels(kind).set(count)
        return {access.instance for access in (await self._accesses.all()).values()}

    async def check(self, projects: int) -> None:
        """Has so many projects of each GitLab compared with it. Raises LogUnavailable, StoreUnavailable."""
        until = int(time.time())
        for instance in await self.instances():
            for number in await todo.sample(self._engine, instance, projects, datetime.now(UTC) - CHECKED):
                parent, since = f"project/{number}", until - int(CHECKED.total_seconds())
                name = f"check of {parent} of {instance}"
                await self._backfills.ask(Backfill(name, "", instance, parent, since, until, check=True))

    async def run(self, instance: str, *, seconds: float) -> bool:
        """Goes on until nothing is left to ask (True), or until the time is up.

        Raises LogUnavailable, StoreUnavailable, and GitLabFailed where this GitLab wants to be left alone for a while.
        """
        end = time.monotonic() + seconds
        self._waits = {who: until for who, until in self._waits.items() if until > time.monotonic()}
        await todo.doubt(self._engine, instance)
        while time.monotonic() < end:
            tasks = await todo.waiting(self._engine, instance, but=self._waits.keys(), limit=AT_ONCE)
            if (not tasks or tasks[0].what == "files") and await self._go_on(instance):
                continue
            if not tasks:
                return True
            for task in tasks:
                if task.project not in self._waits and time.monotonic() < end:
                    await self._complete(task)
        return False

    async def _go_on(self, instance: str) -> bool:
        """One more page of a backfill, if one is wanted."""
        for request in await self._backfills.pending(instance):
            gitlab = await self._gitlab(instance, request.hook_id)
            if gitlab is None or request.name in self._waits:
                continue
            try:
                if await self._backfiller.step(request, gitlab):
                    return True
            except GitLabFailed as error:
                self._put_off(request.name, error)
        return False

    async def _complete(self, task: Task) -> None:
        gitlab = await self._gitlab(task.instance, task.hook_id)
        if gitlab is None:
            self._leave(task)
            return
        ask = Asking(task, gitlab, self._now)
        try:
            async with asyncio.timeout(LONGEST):
                await KINDS[task.what](ask)
            await self._write(ask.answer, "done")
        except (GitLabFailed, TimeoutError) as error:
            failed = error if isinstance(error, GitLabFailed) else GitLabFailed("takes too long", status=504)
            final = 400 <= failed.status < 500 and failed.status not in (401, 429)
            if not final and self._now() - task.since < GIVEN_UP_AFTER:
                self._put_off(task, failed)
                return
            await self._write(Answer(task), "gone" if final else "failed")
        except (StoreRefused, Undecodable, KeyError, TypeError, ValueError) as error:
            logger.warning("%s is left out: %r", task, error)
            await self._write(Answer(task), "refused")

    def _put_off(self, what: Task | str, error: GitLabFailed) -> None:
        """Raises it, where it is no matter of one project."""
        if error.status in (0, 429):
            raise error
        logger.warning("%s (again in %.0f s)", error, PATIENCE)
        self._leave(what, alike=error.status == 401)

    def _leave(self, what: Task | str, *, alike: bool = False) -> None:
        """`alike`: for the project's other questions the answer would be the same."""
        now = time.monotonic()
        self._waits[what if isinstance(what, str) else what.project] = now + PATIENCE
        if isinstance(what, Task) and not alike:
            self._waits[what] = now + MORE_PATIENCE

    async def _write(self, answer: Answer, outcome: str) -> None:
        rows = told(self._engine, [(each, decode(each)) for each in answer.deliveries])
        async with writing(self._engine) as connection:
            for each in (rows, answer.rows.rows()):
                if answer.task.kind.startswith("check/"):
                    metrics.checked(answer.task.what, *await differing(connection, each))
                await put(connection, each)
            await todo.done(connection, answer.task, answer.changes)
        metrics.COMPLETION.labels(answer.task.what, outcome).inc()
        await self._live.tell_fetched(answer.task.project, answer.deliveries)

    async def _gitlab(self, instance: str, hook_id: str) -> GitLab | None:
        access = await self._accesses.choose(instance, hook_id)
        if access and access not in self._gitlabs:
            self._gitlabs[access] = GitLab(access)
        return self._gitlabs[access] if access else None
