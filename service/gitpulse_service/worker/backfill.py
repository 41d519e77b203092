"""Lists what GitLab sent nobody, a page at a time, and counts it as if it had been delivered.

Each page is written in one transaction with what is still to be asked about it, and then it is noted where to go on.
Cut off in between, the page is read and written again, which changes nothing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service import metrics
from gitpulse_service.contract import Backfill, Filling
from gitpulse_service.errors import GitLabFailed, StoreRefused
from gitpulse_service.events import fetched
from gitpulse_service.events.decode import decode
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.fetched import DELIVERED_WITHIN, KINDS, Row, Source
from gitpulse_service.events.timestamps import parse
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.live import Live
from gitpulse_service.store import keys, todo
from gitpulse_service.store.compare import differing
from gitpulse_service.store.engine import writing
from gitpulse_service.store.rows import Batch
from gitpulse_service.store.tables import todo as todo_table
from gitpulse_service.store.write import put, told
from gitpulse_service.worker.gitlab_api import PAGE, GitLab

logger = logging.getLogger(__name__)

ACTIVITY_NOTED = timedelta(hours=2)
"""GitLab notes a project's last activity once an hour; a project that slept since before is left out."""
SETTLED = timedelta(hours=1)
"""How long ago something must have happened for a check to call it an error that it is not known."""
NOT_THERE = (403, 404)
"""Answered for what a project has not: no repository yet, issues or CI switched off."""


class Backfiller:
    """One process's backfills. Only one process at a time asks a GitLab."""

    def __init__(self, backfills: Backfills, engine: AsyncEngine, live: Live) -> None:
        self._live = live
        self._backfills = backfills
        self._engine = engine
        self._listed: dict[str, list[Row]] = {}

    async def step(self, request: Backfill, gitlab: GitLab) -> bool:
        """One page more; False: for now there is none, for answers to its questions are awaited.

        Raises LogUnavailable, StoreUnavailable, and GitLabFailed where that may pass.
        """
        before = await self._backfills.filling(request)
        try:
            filling = await self._step(request, before, gitlab)
        except (GitLabFailed, StoreRefused) as error:
            if isinstance(error, GitLabFailed) and (not 300 <= error.status < 500 or error.status == 429):
                raise
            filling = replace(before, state="Failed", error=str(error))
        await self._backfills.save(request, filling)
        if filling.state != "Running":
            self._listed.pop(request.name, None)
            metrics.BACKFILLS.labels(filling.state.lower()).inc()
            logger.info("%s: %s %s %s", request, filling.state, filling.counts, filling.error)
        return filling != before

    async def _step(self, request: Backfill, filling: Filling, gitlab: GitLab) -> Filling:
        page, rows, of = await self._projects(request, filling, gitlab)
        filling = replace(filling, projects=page, of=of or filling.of)
        if not rows:
            left = await todo.backlog(self._engine, kinds=f"{_asker(request)}/%", hook_id=request.hook_id)
            return replace(filling, left=sum(left.values()), state="Running" if left else "Done")
        project = rows[0]
        slept = filling.kind == 0 and parse(project["last_activity_at"]) < _moment(request.since) - ACTIVITY_NOTED
        if slept or filling.kind == len(KINDS):
            if request.check:
                await self._doubt(request, project)
            return replace(filling, done=int(project["id"]), finished=filling.finished + 1, kind=0, page=1, tip="")
        return await Listing(request, filling, gitlab, project, self._engine, self._live).read()

    async def _projects(self, request: Backfill, filling: Filling, gitlab: GitLab) -> tuple[int, Sequence[Row], int]:
        """Those that are not done: on which page of the list, and how many there are in all, where that was asked.

        A page is read until it shows nothing new: where a project before it is deleted, another one moves up.
        """
        kind, _, number = request.parent.partition("/")
        known = [row for row in self._listed.get(request.name, ()) if row["id"] > filling.done]
        page, of = filling.projects, 0
        while not known:
            if kind == "project":
                known, last, of = [] if filling.done else [await gitlab.get(f"/projects/{number}")], True, 1
            else:
                path, query = f"/groups/{number}/projects", {"include_subgroups": "true", "simple": "true"}
                of = filling.of or await gitlab.total(path, **query)
                rows = await gitlab.page(path, page, **query, order_by="id", sort="asc")
                known, last = [row for row in rows if row["id"] > filling.done], len(rows) < PAGE
                page += not known and not last
            if last:
                break
        self._listed[request.name] = known
        return page, known, of

    async def _doubt(self, request: Backfill, project: Row) -> None:
        """Has those commits looked at that should have been listed and were not."""
        key = keys.project(request.instance, int(project["id"]))
        await todo.doubt_unseen(self._engine, key, _moment(request.since), _settled(request), _moment(request.until))


@dataclass
class Listing:
    """The next page of one list of one project."""

    request: Backfill
    filling: Filling
    gitlab: GitLab
    project: Row
    engine: AsyncEngine
    live: Live
    questions: Batch = field(default_factory=Batch)
    tiers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = keys.project(self.request.instance, int(self.project["id"]))
        self.name, self.kind = list(KINDS.items())[self.filling.kind]
        self.since, self.until = _moment(self.request.since), _moment(self.request.until)
        self.source = Source(self.project, self.request.instance, self.request.hook_id, self.until)

    async def read(self) -> Filling:
        """Writes it. Returns how far it has come with it."""
        filling, kind = self.filling, self.kind
        rows = await self._rows(kind.path, filling.page, **self._asked())
        if self.name == "commits" and filling.page == 1:
            newest = rows or await self._rows(kind.path, 1)
            filling = replace(filling, tip=newest[0]["id"] if newest else "")
        if self.name == "deployments":
            self.tiers = await self._tiers_of({it["name"] for row in rows if (it := row.get("environment"))})
        if self.name == "releases" and len(rows) < PAGE:
            self._ask("releases")
        new = await self._write(list(self._deliveries(rows, filling.tip)))
        counts = {**filling.counts, **({self.name: filling.counts.get(self.name, 0) + new} if kind.table else {})}
        if len(rows) == PAGE:
            return replace(filling, counts=counts, page=filling.page + 1)
        return replace(filling, counts=counts, kind=filling.kind + 1, page=1)

    def _asked(self) -> dict[str, str]:
        asked = self.kind.asked(self.since)
        return {**asked, "ref_name": self.filling.tip} if self.name == "commits" and self.filling.page > 1 else asked

    async def _rows(self, path: str, page: int, **query: str) -> list[Any]:
        try:
            return await self.gitlab.page(f"/projects/{self.project['id']}/{path}", page, **query)
        except GitLabFailed as error:
            if error.status in NOT_THERE:
                return []
            raise

    async def _tiers_of(self, environments: set[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for page in itertools.count(1):
            if environments <= found.keys():
                break
            rows = await self._rows("environments", page)
            found |= {row["name"]: row["tier"] for row in rows}
            if len(rows) < PAGE:
                break
        return found

    def _deliveries(self, rows: Sequence[Row], tip: str) -> Iterator[Envelope]:
        """What the rows tell; what they do not is put on the list of questions."""
        if self.name == "commits":
            if wanted := [row for row in rows if self._is_wanted(row)]:
                yield self.source.delivery(fetched.commits(wanted))
            return
        for row in rows:
            try:
                if not self._is_wanted(row):
                    continue
                if self.kind.more:
                    self._ask(self.kind.more, row["iid"], row["id"])
                if self.name in ("branches", "tags") and not row.get("merged"):
                    self._ask("new", tip, row["commit"]["id"], 1, f"{self.since - self.kind.earlier:{self.kind.form}}")
                elif content := self._content(row):
                    at = self.kind.at(row) + DELIVERED_WITHIN if self.name == "pushes" else None
                    yield self.source.delivery(content, at)
            except (KeyError, TypeError, ValueError) as error:
                logger.warning("a row of %s/%s is left out: %r", self.project["web_url"], self.kind.path, error)

    def _content(self, row: Row) -> fetched.Content | None:
        if self.name == "deployments":
            return fetched.deployment(row, self.tiers)
        return self.kind.content(row) if self.kind.content else None

    def _is_wanted(self, row: Row) -> bool:
        """Whether it became as it is within the span; what a check finds just now may be on its way to us."""
        at = self.kind.at(row)
        since = self.since - (self.kind.earlier if self.name != "pushes" else timedelta())
        return at >= since and not (self.request.check and at >= _settled(self.request))

    def _ask(self, kind: str, *item: object) -> None:
        row = {"kind": f"{_asker(self.request)}/{kind}", "item": msgspec.json.encode(item).decode()}
        asked = {"project": self.key, "hook_id": self.request.hook_id, "since": self.until}
        self.questions.add(todo_table, {**row, **asked})
        # Where nothing has happened no delivery tells of the project, and about one without a row nobody is asked.
        about = (self.project.get(name) for name in ("id", "path_with_namespace", "name", "web_url", "default_branch"))
        last = min(parse(self.project["last_activity_at"]), self.until)
        self.questions.projects[self.key, self.request.instance, *about] = last

    async def _write(self, deliveries: Sequence[Envelope]) -> int:
        """Returns how many rows of the list's table were not known, or not so."""
        rows = told(self.engine, [(each, decode(each)) for each in deliveries])
        async with writing(self.engine) as connection:
            of_list = {table: some for table, some in rows.items() if table.name == self.kind.table}
            different, same = await differing(connection, of_list)
            for each in (rows, self.questions.rows()):
                await put(connection, each)
        if self.request.check:
            metrics.checked(self.name, different, same)
        if deliveries:
            await self.live.tell_fetched(self.key, deliveries)
        return different


def _asker(request: Backfill) -> str:
    return "check" if request.check else "backfill"


def _settled(request: Backfill) -> datetime:
    return _moment(request.until) - SETTLED


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
