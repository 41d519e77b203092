"""A project's repository: commits, branches, comparison."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call, Refused, not_found
from gitpulse_sim.api.door import route
from gitpulse_sim.api.pages import paged
from gitpulse_sim.repository import Commit
from gitpulse_sim.stamps import iso_offset
from gitpulse_sim.world import Project


async def commits(call: Call) -> Response:
    """Newest first: of `ref_name` (the default branch), or `all=true`; between `since` and `until`."""
    project = call.project()
    if project.repository.is_empty:
        return paged(call, [])
    everything = call.text("all").lower() == "true"
    revisions = ["--all"] if everything else [await _resolve(call, project, "ref_name", project.default_branch)]
    revisions += [f"--{name}={call.text(name)}" for name in ("since", "until", "author") if call.text(name)]
    found = await asyncio.to_thread(project.repository.log, *revisions, paths=False)
    return paged(call, [commit_data(call, project, commit) for commit in found])


async def commit(call: Call) -> Response:
    project = call.project()
    sha = await asyncio.to_thread(project.repository.resolve, call.path("sha"))
    if sha is None:
        raise not_found("Commit")
    (found,) = await asyncio.to_thread(project.repository.log, sha, limit=1, paths=False)
    return JSONResponse(commit_data(call, project, found))


async def compare(call: Call) -> Response:
    """The commits of `to` that `from` has not, oldest first, and which files differ (without their text)."""
    project = call.project()
    start, end = await _resolve(call, project, "from"), await _resolve(call, project, "to")
    found = await asyncio.to_thread(project.repository.log, f"{start}..{end}", paths=False)
    dots = ".." if call.text("straight").lower() == "true" else "..."
    changed = await asyncio.to_thread(
        project.repository.git, "diff", "--name-status", "--no-renames", f"{start}{dots}{end}"
    )
    listed = [commit_data(call, project, one) for one in reversed(found)]
    return JSONResponse(
        {
            "commit": listed[-1] if listed else None,
            "commits": listed,
            "diffs": [_diff(*line.split("\t", 1)) for line in changed.splitlines()],
            "compare_timeout": False,
            "compare_same_ref": start == end,
            "web_url": f"{call.world.url}/{project.full_path}/-/compare/{start}{dots}{end}",
        }
    )


async def branches(call: Call) -> Response:
    project = call.project()
    tips = {ref.removeprefix("refs/heads/"): sha for ref, sha in sorted(project.repository.tips.items())
            if ref.startswith("refs/heads/")}  # fmt: skip
    return paged(
        call,
        [
            {"name": name, "default": name == project.default_branch, "merged": False, "commit": {"id": sha}}
            for name, sha in tips.items()
        ],
    )


async def _resolve(call: Call, project: Project, parameter: str, default: str = "") -> str:
    name = call.text(parameter, default)
    if not name:
        raise Refused(400, {"error": f"{parameter} is missing"})
    if sha := await asyncio.to_thread(project.repository.resolve, name):
        return sha
    raise not_found("Commit" if default else "Ref")


def commit_data(call: Call, project: Project, one: Commit) -> dict[str, object]:
    """A commit as the API replies one."""
    return {
        "id": one.sha,
        "short_id": one.sha[:8],
        "created_at": iso_offset(one.committed_at),
        "parent_ids": list(one.parents),
        "title": one.title,
        "message": one.message,
        "author_name": one.author.name,
        "author_email": one.author.email,
        "authored_date": iso_offset(one.authored_at),
        "committer_name": one.committer.name,
        "committer_email": one.committer.email,
        "committed_date": iso_offset(one.committed_at),
        "trailers": {},
        "web_url": f"{call.world.url}/{project.full_path}/-/commit/{one.sha}",
    }


def _diff(status: str, path: str) -> dict[str, object]:
    return {
        "old_path": path,
        "new_path": path,
        "new_file": status == "A",
        "deleted_file": status == "D",
        "renamed_file": False,
        "diff": "",
    }


def routes() -> list[Route]:
    base = "/projects/{id}/repository"
    return [
        route("GET", f"{base}/commits", commits),
        route("GET", f"{base}/commits/{{sha}}", commit),
        route("GET", f"{base}/compare", compare),
        route("GET", f"{base}/branches", branches),
    ]
