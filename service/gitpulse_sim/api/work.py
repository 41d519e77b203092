"""What a backfill reads of a project: commits, merge requests, issues, pipelines.

Each family is a table: where its things are kept, which of their fields are shown, and what its list is filtered by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

from starlette.routing import Route

from gitpulse_sim.api.call import Call, Refused, not_found
from gitpulse_sim.api.door import route
from gitpulse_sim.api.places import user_row
from gitpulse_sim.clock import iso_offset
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.payloads.push import RefChange
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit
from gitpulse_sim.work import Issue, Label, MergeRequest, Pipeline
from gitpulse_sim.world import Project

Thing: TypeAlias = MergeRequest | Issue | Pipeline

DISCUSSED = "id iid title description state created_at updated_at closed_at closed_by author assignees labels"


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of thing that can be listed, and read one by one."""

    things: Callable[[Project], Sequence[Thing]]
    number: str
    """The field that the path calls it by."""
    state: str
    brief: str
    """The fields that a list shows."""
    more: str = ""
    """Those that only the thing itself shows beside them."""
    filters: tuple[str, ...] = ()
    """Shown fields that a list can be narrowed by."""

    def index(self, call: Call) -> list[Data]:
        """The wanted states and times, in the wanted order (newest first)."""
        found: Iterable[Thing] = self.things(call.project())
        if (wanted := call.text(self.state, "all")) != "all":
            found = [one for one in found if getattr(one, self.state) == wanted]
        for field in ("created_at", "updated_at"):
            name = field.removesuffix("_at")
            after, before = _time(call, f"{name}_after"), _time(call, f"{name}_before")
            found = [one for one in found if after is None or getattr(one, field) >= after]
            found = [one for one in found if before is None or getattr(one, field) <= before]
        order = call.text("order_by", "id").removesuffix("_at")
        key = f"{order}_at" if order in ("created", "updated") else "id"
        found = sorted(found, key=lambda one: getattr(one, key), reverse=call.text("sort", "desc") == "desc")
        rows = [self.row(call, one, self.brief) for one in found]
        narrow = {name: call.text(name) for name in self.filters if call.text(name)}
        return [row for row in rows if all(row[name] == value for name, value in narrow.items())]

    def read(self, call: Call) -> Data:
        """The thing of the path."""
        number = call.number("number")
        for thing in self.things(call.project()):
            if getattr(thing, self.number) == number:
                return self.row(call, thing, f"{self.brief} {self.more}")
        raise not_found()

    def row(self, call: Call, one: Thing, table: str) -> Data:
        """What is said of one thing: the table's fields, and where it is."""
        project, frame = call.project(), call.frame
        data = {name: _plain(frame, value) for name, value in frame.fields(one, table).items()}
        data |= {"project_id": project.id, "web_url": frame.page(project, one.page)}
        if not isinstance(one, Pipeline):
            data["user_notes_count"] = sum(note.target is one for note in project.notes)
        if isinstance(one, MergeRequest):
            data |= {"source_project_id": project.id, "target_project_id": project.id}
        return data


def _plain(frame: Frame, value: object) -> object:
    """People and labels as replies show them within other things."""
    if isinstance(value, list):
        return [_plain(frame, inner) for inner in value]
    if isinstance(value, Label):
        return value.title
    return user_row(frame, value) if isinstance(value, User) else value


FAMILIES = {
    "merge_requests": Family(
        lambda project: project.merge_requests,
        "iid",
        "state",
        f"{DISCUSSED} merged_at merge_user reviewers source_branch target_branch draft sha=last_commit.sha "
        "merge_commit_sha prepared_at=created_at",
    ),
    "issues": Family(
        lambda project: project.issues, "iid", "state", f"{DISCUSSED} issue_type confidential", filters=("issue_type",)
    ),
    "pipelines": Family(
        lambda project: project.pipelines,
        "id",
        "status",
        "id iid status source ref sha=commit.sha created_at updated_at",
        "before_sha user started_at finished_at duration queued_duration",
        ("ref", "sha"),
    ),
}


async def commits(call: Call) -> list[Data]:
    """Newest first: of `ref_name` (the default branch), or `all=true`; between `since` and `until`."""
    project = call.project()
    repository = project.repository
    if repository.is_empty:
        return []
    revisions = [f"--{name}={call.text(name)}" for name in ("since", "until") if call.text(name)]
    everything = call.flag("all")
    revisions.append("--all" if everything else await _tip(project, call.text("ref_name", project.default_branch)))
    found = await asyncio.to_thread(repository.log, *revisions, paths=False)
    return [_commit(call, project, one) for one in found]


def pushes(call: Call) -> list[Data]:
    """What was pushed on the days between `after` and `before`, newest first. Other events are not listed."""
    after, before = call.text("after"), call.text("before", "9999")
    found = [one for one in call.project().pushes if after < f"{one[0]:%Y-%m-%d}" < before]
    return [_pushed(call, *one) for one in (found if call.text("sort") == "asc" else found[::-1])]


def _pushed(call: Call, at: datetime, user: User, change: RefChange) -> Data:
    how = "created" if change.before == ZEROS else "removed" if change.after == ZEROS else "pushed"
    push: Data = {"commit_count": change.total, "action": how, "ref_type": "tag" if change.is_tag else "branch"}
    push |= {"commit_from": change.before, "commit_to": change.after, "ref": change.ref.split("/", 2)[2]}
    data = {"project_id": call.project().id, "author_id": user.id, "created_at": call.frame.at(at)}
    return data | {"push_data": {name: None if value == ZEROS else value for name, value in push.items()}}


async def commit(call: Call) -> Data:
    """One, by its name or that of a branch or tag."""
    project = call.project()
    tip = await _tip(project, call.path("sha"))
    (found,) = await asyncio.to_thread(project.repository.log, tip, limit=1, paths=False)
    return _commit(call, project, found)


async def compare(call: Call) -> Data:
    """The commits of `to` that `from` has not, oldest first, and which files differ (without their text)."""
    project = call.project()
    git = project.repository
    start, end = await _tip(project, call.text("from")), await _tip(project, call.text("to"))
    found = [_commit(call, project, one) for one in await asyncio.to_thread(git.log, f"{start}..{end}", paths=False)]
    between = f"{start}..{end}" if call.flag("straight") else f"{start}...{end}"
    changed = await asyncio.to_thread(git.git, "diff", "--name-status", "--no-renames", between)
    files = [line.split("\t", 1) for line in changed.splitlines()]
    return {
        "commit": found[0] if found else None,
        "commits": found[::-1],
        "diffs": [
            {"old_path": path, "new_path": path, "new_file": how == "A", "deleted_file": how == "D", "diff": ""}
            for how, path in files
        ],
        "compare_timeout": False,
        "compare_same_ref": start == end,
    }


async def _tip(project: Project, name: str) -> str:
    if sha := await asyncio.to_thread(project.repository.resolve, name):
        return sha
    raise not_found("Commit")


def _commit(call: Call, project: Project, one: Commit) -> Data:
    return replace(call.frame, stamp=iso_offset).fields(
        one,
        "id=sha short_id=short_sha created_at=at title message parent_ids=parents "
        "author_name=author.name author_email=author.email authored_date=at "
        "committer_name=author.name committer_email=author.email committed_date=at",
    ) | {"web_url": call.frame.page(project, f"commit/{one.sha}")}


def _time(call: Call, name: str) -> datetime | None:
    text = call.text(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(400, {"error": f"{name} is invalid"}) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def routes() -> list[Route]:
    base = "/projects/{id}"
    found = [
        route("GET", f"{base}/events", pushes),
        route("GET", f"{base}/repository/commits", commits),
        route("GET", f"{base}/repository/commits/{{sha}}", commit),
        route("GET", f"{base}/repository/compare", compare),
    ]
    for name, family in FAMILIES.items():
        found.append(route("GET", f"{base}/{name}", family.index))
        found.append(route("GET", f"{base}/{name}/{{number}}", family.read))
    return found
