"""What is true of a project: from real git, and from the simulator's own records. Others' numbers are held to it."""

from __future__ import annotations

import asyncio
from collections import Counter

from gitpulse_sim.work import FINAL_STATUSES
from gitpulse_sim.world import Project


async def truth(project: Project) -> dict[str, object]:
    """Counts of all time.

    `pushes` is how many Push Hooks fired (or would have, had a hook been there), branch deletions among them;
    `merge_requests.closed` and `issues.closed` are those that are closed now, `opened` all that ever were.
    """
    git = project.repository
    emails = await asyncio.to_thread(git.git, "log", "--all", "--format=%ae") if git.tips else ""
    authors = Counter(emails.split())
    requests, pipelines = project.merge_requests, Counter(str(pipeline.status) for pipeline in project.pipelines)
    return {
        "id": project.id,
        "project": project.full_path,
        "commits": authors.total(),
        "authors": dict(sorted(authors.items())),
        "pushes": project.events["push_events"],
        "tag_pushes": project.events["tag_push_events"],
        "merge_requests": {
            "opened": len(requests),
            "merged": sum(request.state == "merged" for request in requests),
            "closed": sum(request.state == "closed" for request in requests),
        },
        "issues": {
            "opened": len(project.issues),
            "closed": sum(issue.state == "closed" for issue in project.issues),
        },
        "notes": len(project.notes),
        "pipelines": {"total": len(project.pipelines), **{status: pipelines[status] for status in FINAL_STATUSES}},
        "events": dict(project.events),
    }
