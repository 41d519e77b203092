"""Asks GitLab what deliveries did not tell: one function for each kind of `todo`. See docs/decisions/0041."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from gitpulse_service.errors import GitLabFailed
from gitpulse_service.events import fetched
from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.fetched import Source
from gitpulse_service.events.timestamps import parse
from gitpulse_service.store import keys, todo
from gitpulse_service.store.rows import Batch
from gitpulse_service.store.tables import merge_request as merge_request_table, review, todo as todo_table
from gitpulse_service.store.todo import Task
from gitpulse_service.worker.gitlab_api import PAGE, GitLab

APPROVED = "approved this merge request"
"""The machine's note."""
Commits: TypeAlias = Mapping[str, Sequence[str]]
"""Commit -> its parents."""


@dataclass(slots=True)
class Answer:
    """What is to be written in one transaction, with the deletion of the row that was answered."""

    task: Task
    deliveries: list[Envelope] = field(default_factory=list)
    rows: Batch = field(default_factory=Batch)
    """What no delivery tells of."""
    changes: list[todo.Change] = field(default_factory=list)

    def tell(self, content: fetched.Content) -> None:
        """As if it had been delivered when the question came up."""
        task = self.task
        source = Source({"id": task.gitlab_id}, task.instance, task.hook_id, task.since)
        self.deliveries.append(source.delivery(content))

    def ask(self, kind: str, *item: object) -> None:
        """Something more to be asked about."""
        self.rows.add(todo_table, self.task.row(kind, msgspec.json.encode(item).decode()))


@dataclass
class Asking:
    """One row of `todo` and the GitLab that knows."""

    task: Task
    gitlab: GitLab
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        self.answer = Answer(self.task)

    @property
    def item(self) -> Any:  # noqa: ANN401 - JSON
        """What is asked about, where that is more than a name."""
        return msgspec.json.decode(self.task.item)

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        return await self.gitlab.get(f"/projects/{self.task.gitlab_id}/{path}".rstrip("/"))

    async def page(self, path: str, number: int = 1, **query: object) -> list[Any]:
        return await self.gitlab.page(f"/projects/{self.task.gitlab_id}/{path}", number, **query)

    async def all(self, path: str, **query: object) -> list[Any]:
        """All pages of a short list."""
        found: list[Any] = []
        while len(rows := await self.page(path, len(found) // PAGE + 1, **query)) == PAGE:
            found += rows
        return found + rows

    async def commits(self, base: str, tip: str, number: int, **query: object) -> list[Any]:
        """A page of those that `tip` reaches and `base` (empty: nothing) does not."""
        return await self.page("repository/commits", number, ref_name=f"{base}..{tip}" if base else tip, **query)

    async def is_there(self, sha: str) -> bool:
        """Whether a branch or tag reaches it."""
        return bool(await self.get(f"repository/commits/{sha}/refs?type=all&per_page=1"))

    async def is_ancestor(self, sha: str, of: str) -> bool:
        """Whether one commit is in the history of another."""
        try:
            found = await self.get(f"repository/merge_base?refs[]={sha}&refs[]={of}")
        except GitLabFailed as error:
            if error.status != 404:  # they have nothing in common
                raise
            return False
        return bool(found["id"] == sha)

    async def base(self, ref: str) -> str:
        """The tip of the default branch; empty where `ref` is that branch, or there is none."""
        default = (await self.get(""))["default_branch"]
        if not default or ref == f"refs/heads/{default}":
            return ""
        tip: str = (await self.get(f"repository/commits/{default.replace('/', '%2F')}"))["id"]
        return tip


async def push(ask: Asking) -> None:
    """Was it forced, what did it take away, and which of its commits were not listed?"""
    ref, before, after, listed = ask.item
    if not after.strip("0"):
        if not await ask.is_there(before):
            ask.answer.ask("lost", await ask.base(ref), before, 1)
        return
    if not before.strip("0"):
        before = await ask.base(ref)
    else:
        # Where committers' clocks go wrong, git lists an ancestor too; a merge base it finds all the same.
        was = await _judge(ask, after, before, 1) and not await ask.is_ancestor(before, after)
        ask.answer.changes.append(todo.forced(ask.task, ref, before, after, was=was))
    if not listed:
        ask.answer.ask("new", before, after, 1)


async def new(ask: Asking) -> None:
    """A page of commits that came with a branch."""
    base, tip, number, *since = ask.item
    rows = await ask.commits(base, tip, number, **({"since": since[0]} if since else {}))
    if rows:
        ask.answer.tell(fetched.commits(rows))
    if len(rows) == PAGE:
        ask.answer.ask("new", base, tip, number + 1, *since)


async def lost(ask: Asking) -> None:
    """A page of commits that went with one, unless another ref has them."""
    await _judge(ask, *ask.item)


async def _judge(ask: Asking, base: str, tip: str, number: int) -> bool:
    """Whether there are any. They are told of, so that who hears of them late knows that they are gone."""
    rows, now = await ask.commits(base, tip, number), ask.now()
    if rows:
        ask.answer.tell(fetched.commits(rows))
        gone = await _unreachable({row["id"]: row["parent_ids"] for row in rows}, ask.is_there)
        there = [row["id"] for row in rows if row["id"] not in gone]
        ask.answer.changes += [todo.refs(ask.task, shas, now, lost=shas is gone) for shas in (gone, there) if shas]
    if len(rows) == PAGE:
        ask.answer.ask("lost", base, tip, number + 1)
    return bool(rows)


async def _unreachable(commits: Commits, is_there: Callable[[str], Awaitable[bool]]) -> set[str]:
    """Those that no ref reaches, with few questions: what one reaches, it reaches with all ancestors.

    The last one is asked about first, then the first, then the one in the middle of those that are still open.
    """
    children: dict[str, list[str]] = {}
    for sha, parents in commits.items():
        for parent in parents:
            children.setdefault(parent, []).append(sha)
    gone: set[str] = set()
    left = list(commits)
    for asked in range(len(commits)):
        if not left:
            break
        sha = left[(-1, 0)[asked] if asked < 2 else len(left) // 2]
        there = await is_there(sha)
        decided = _reach(sha, commits if there else children)
        gone |= set() if there else decided & commits.keys()
        left = [one for one in left if one not in decided]
    return gone


def _reach(start: str, edges: Commits) -> set[str]:
    found, left = {start}, [start]
    while left:
        fresh = set(edges.get(left.pop(), ())) - found
        found |= fresh
        left += fresh
    return found


async def refs(ask: Asking) -> None:
    """Is a commit still there, that was not and of which we heard since?"""
    now, sha = ask.now(), ask.task.item
    try:
        there = await ask.is_there(sha)
    except GitLabFailed as error:
        if error.status not in (403, 404):
            raise
        there = error.what != "Commit"  # else the project is gone, or none of ours: it counts as it did
    ask.answer.changes.append(todo.refs(ask.task, [sha], now, lost=not there))


async def files(ask: Asking) -> None:
    """Which paths did a commit change?"""
    counts = {"added": 0, "modified": 0, "removed": 0}
    for row in await ask.all(f"repository/commits/{ask.task.item}/diff"):
        new = row["new_file"] or row["renamed_file"]
        counts["added" if new else "removed" if row["deleted_file"] else "modified"] += 1
    ask.answer.changes.append(todo.files(ask.task, ask.task.item, counts))


async def merge_request(ask: Asking) -> None:
    """When was it merged, and when approved?"""
    row = await ask.get(f"merge_requests/{ask.item}")
    ask.answer.tell(fetched.merge_request(row))
    await _notes(ask, row["iid"], row["id"])


async def notes(ask: Asking) -> None:
    """Who wrote on a merge request, and who approved it?"""
    await _notes(ask, *ask.item)


async def _notes(ask: Asking, iid: int, mr: int, number: int = 1) -> None:
    rows = await ask.page(f"merge_requests/{iid}/notes", number, sort="asc", order_by="created_at")
    for row in rows:
        ask.answer.tell(fetched.note(row))
        if row["system"] and row["body"].strip() == APPROVED:
            who, at = keys.account(ask.task.instance, row["author"]["id"]), parse(row["created_at"])
            ask.answer.rows.add(review, {"project": ask.task.project, "merge_request": mr, "who": who, "at": at})
    if len(rows) == PAGE:
        ask.answer.ask("notes", iid, mr, number + 1)


async def reopenings(ask: Asking) -> None:
    """When was an issue opened again?"""
    number = ask.item[0]
    events = await ask.all(f"issues/{number}/resource_state_events")
    if reopened := [row for row in events if row["state"] == "reopened"]:
        issue = await ask.get(f"issues/{number}")
        for row in reopened:
            ask.answer.tell(fetched.reopening(issue, row))


async def pipeline(ask: Asking) -> None:
    """When did a pipeline end, who started it, and which jobs did it have?"""
    number = ask.item[1]
    row, jobs = await ask.get(f"pipelines/{number}"), await ask.all(f"pipelines/{number}/jobs", include_retried="true")
    ask.answer.tell(fetched.pipeline(row, jobs))


async def deployment(ask: Asking) -> None:
    """Which merge requests did it bring?"""
    number, at = ask.item
    unsaid = dict.fromkeys(column.name for column in merge_request_table.columns)
    for row in await ask.all(f"deployments/{number}/merge_requests"):
        ask.answer.tell(fetched.merge_request(row))
        said = {"project": ask.task.project, "id": row["id"], "deployed_at": parse(at), "version": b""}
        ask.answer.rows.add(merge_request_table, {**unsaid, **said})


async def releases(ask: Asking) -> None:
    """Which are still there? That one was deleted is told once, and it is in no list."""
    rows = await ask.all("releases", order_by="created_at", sort="asc")
    ask.answer.changes.append(todo.unreleased(ask.task, [(row["tag_name"], parse(row["created_at"])) for row in rows]))


KINDS: Mapping[str, Callable[[Asking], Awaitable[None]]] = {
    each.__name__: each
    for each in (push, new, lost, refs, files, merge_request, notes, reopenings, pipeline, deployment, releases)
}
