"""What a project's repository answers: commits and what they changed, branches, tags, pushes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from starlette.responses import Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call, Handler, not_found
from gitpulse_sim.api.door import answer_page, paged, route
from gitpulse_sim.errors import GitFailed
from gitpulse_sim.frame import Data
from gitpulse_sim.payloads.push import RefChange
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit, shown

T = TypeVar("T")


async def commits(call: Call) -> Response:
    """Newest first: of `ref_name` (a branch, tag, sha or range; the default branch), or `all=true`; since, until.

    As in GitLab there are no totals, and a page that is full may be followed by an empty one.
    """
    project = call.project()
    revisions = [f"--{name}={call.text(name)}" for name in ("since", "until") if call.text(name)]
    if not call.flag("all"):
        revisions.append(_name(call.text("ref_name", project.default_branch)))
    elif call.world.instance.all_lists_kept_commits:
        revisions.append("--all")
    else:
        revisions += ["--branches", "--tags"]
    page, size = call.page()
    found: list[Commit] = []
    if not project.repository.is_empty:
        found = await _git(project.repository.log, *revisions, limit=size, skip=(page - 1) * size, paths=False)
    return answer_page(call, call.frame_of(project).shown(found), more=len(found) == size)


async def commit(call: Call) -> Data:
    """One, by its sha or the name of a branch or tag."""
    return await _commit(call, await _tip(call))


async def _commit(call: Call, sha: str) -> Data:
    project = call.project()
    found: list[Data] = call.frame_of(project).shown(await _git(project.repository.log, sha, limit=1, paths=False))
    return found[0]


async def refs(call: Call) -> list[Data]:
    """The branches and tags that hold a commit; no other ref is told."""
    places = {"branch": "refs/heads", "tag": "refs/tags"}
    wanted = [kind for kind in places if call.text("type", "all") in ("all", kind)]
    tip, git = await _tip(call), call.project().repository
    arguments = ("for-each-ref", "--format=%(refname)", f"--contains={tip}")
    names = await _git(git.git, *arguments, *(places[kind] for kind in wanted))
    return [
        {"type": kind, "name": name.removeprefix(f"{places[kind]}/")}
        for kind in wanted
        for name in names.splitlines()
        if name.startswith(places[kind])
    ]


async def merge_base(call: Call) -> Data:
    """The newest commit that all of `refs[]` have in their history."""
    git = call.project().repository
    tips = [_name(git.resolve(_name(ref)) or "") for ref in call.request.query_params.getlist("refs[]")]
    try:
        found = await asyncio.to_thread(git.git, "merge-base", "--octopus", *tips)
    except GitFailed:
        raise not_found("Merge Base") from None
    return await _commit(call, found.strip())


async def diff(call: Call) -> list[Data]:
    """What a commit changed against its first parent, without the text."""
    flags = {"A": "new_file", "R": "renamed_file", "D": "deleted_file"}
    return [
        {"old_path": shown(old), "new_path": shown(new), "a_mode": old_mode, "b_mode": mode, "diff": ""}
        | {flag: how == letter for letter, flag in flags.items()}
        for how, old_mode, mode, old, new in await _git(call.project().repository.diff, await _tip(call))
    ]


async def branches(call: Call) -> Response:
    """By name; `merged`: the default branch has all that is in it, and is further."""
    project, default = call.project(), f"refs/heads/{call.project().default_branch}"
    frame = call.frame_of(project)
    merged: set[str] = set()
    if default in project.repository.tips:
        arguments = ("for-each-ref", f"--merged={default}", "--format=%(refname)", "refs/heads")
        merged = set((await _git(project.repository.git, *arguments)).splitlines())
    tip = project.repository.tips.get(default)
    rows = _refs(call, "refs/heads/")
    for row in rows:
        ref = f"refs/heads/{row['name']}"
        row |= {"merged": ref in merged and project.repository.tips[ref] != tip, "default": ref == default}
        row |= {"protected": ref == default, "web_url": frame.page(f"tree/{row['name']}")}
    return await _with_commits(call, rows)


async def tags(call: Call) -> Response:
    """By name, the last first; `target` is the tag itself where it is an annotated one."""
    return await _with_commits(call, _refs(call, "refs/tags/")[::-1])


def _refs(call: Call, place: str) -> list[Data]:
    tips = call.project().repository.tips
    search = call.text("search")
    names = sorted(ref.removeprefix(place) for ref in tips if ref.startswith(place) and search in ref)
    return [{"name": name, "target": tips[f"{place}{name}"]} for name in names]


async def _with_commits(call: Call, rows: Sequence[Data]) -> Response:
    page, size = call.page()
    asked = [str(row["target"]) for row in rows[(page - 1) * size : page * size]]
    found: dict[str, Data] = {}
    if asked:
        project = call.project()
        peeled = (await _git(project.repository.git, "rev-parse", *(f"{sha}^{{}}" for sha in asked))).split()
        types = await _git(
            project.repository.git, "cat-file", "--batch-check=%(objecttype)", stdin="\n".join(peeled).encode()
        )
        commits = {sha for sha, kind in zip(peeled, types.split(), strict=True) if kind == "commit"}
        known = await _git(project.repository.log, "--no-walk", *commits, paths=False) if commits else []
        shas = {one.sha: call.frame_of(project).shown(one) for one in known}
        found = {sha: shas[it] for sha, it in zip(asked, peeled, strict=True) if it in shas}
    return paged(call, rows, lambda row: row | {"commit": found.get(row["target"])})


def pushes(call: Call) -> list[Data]:
    """What was pushed on the days between `after` and `before`, newest first. Other events are not listed."""
    after, before = call.text("after"), call.text("before", "9999")
    found = [one for one in call.project().pushes if after < f"{one[0]:%Y-%m-%d}" < before]
    return [_pushed(call, *one) for one in (found if call.text("sort") == "asc" else found[::-1])]


def _pushed(call: Call, at: datetime, user: User, change: RefChange) -> Data:
    how = "created" if change.before == ZEROS else "removed" if change.after == ZEROS else "pushed"
    push: Data = {"commit_count": change.total, "action": how, "ref_type": "tag" if change.is_tag else "branch"}
    push |= {"commit_from": change.before, "commit_to": change.after, "ref": change.ref.split("/", 2)[2]}
    data: Data = {"project_id": call.project().id, "author_id": user.id, "created_at": call.frame.shown(at)}
    data |= {"author": call.frame.shown(user), "author_username": user.username}
    return data | {"push_data": {name: None if value == ZEROS else value for name, value in push.items()}}


def _name(name: str) -> str:
    """A revision that cannot be taken for an option."""
    if not name or name.startswith("-"):
        raise not_found("Commit")
    return name


async def _tip(call: Call) -> str:
    if sha := await asyncio.to_thread(call.project().repository.resolve, call.path("sha")):
        return sha
    raise not_found("Commit")


async def _git(run: Callable[..., T], *arguments: str, **more: object) -> T:
    """Asks git, in a thread; what it does not know is not found."""
    try:
        return await asyncio.to_thread(run, *arguments, **more)
    except GitFailed as error:
        raise not_found("Commit") from error


def routes() -> list[Route]:
    base = "/projects/{id}/repository"
    one = f"{base}/commits/{{sha}}"
    table: dict[str, Handler] = {
        "/projects/{id}/events": pushes, f"{base}/commits": commits, one: commit, f"{one}/refs": refs,
        f"{one}/diff": diff, f"{base}/merge_base": merge_base, f"{base}/branches": branches, f"{base}/tags": tags,
    }  # fmt: skip
    return [route("GET", path, handler) for path, handler in table.items()]
