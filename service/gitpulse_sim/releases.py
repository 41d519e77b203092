"""Releases: what is said of a tag. Each action tells the hooks."""

from __future__ import annotations

import asyncio
from datetime import datetime

from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.ci import release
from gitpulse_sim.people import User
from gitpulse_sim.work import Release
from gitpulse_sim.world import Project


async def create(
    forge: Forge, project: Project, user: User, tag: str, *, at: datetime, released_at: datetime | None = None
) -> Release:
    """Releases a tag, which is made of the default branch's newest commit where it is missing."""
    if f"refs/tags/{tag}" not in project.repository.tips:
        await forge.tag(project, user, tag, at=at)
    (commit,) = await asyncio.to_thread(project.repository.log, f"refs/tags/{tag}", limit=1, paths=False)
    subject = Release(
        id=forge.world.next_id("release"), tag_name=tag, name=f"Release {tag}", description="What is new", author=user,
        commit=commit, created_at=at, released_at=released_at or at,
    )  # fmt: skip
    project.releases.append(subject)
    await tell(forge, project, subject, "create")
    return subject


async def delete(forge: Forge, project: Project, subject: Release) -> None:
    """The tag stays."""
    project.releases.remove(subject)
    await tell(forge, project, subject, "delete")


async def tell(forge: Forge, project: Project, subject: Release, action: str) -> None:
    """`create`, `delete`, or `update` after its name or `released_at` was changed."""
    await forge.tell(project, "releases_events", release(forge.frame(project), subject, action))
