"""`gitpulse backfill`: has workers fetch a project's history, and shows how far they are. They go on without it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from urllib.parse import quote

from gitpulse_cli.errors import CommandError
from gitpulse_cli.output import Format, console, show as show_rows
from gitpulse_service.contract import Access, Backfill, Filling, SettingsError
from gitpulse_service.errors import GitLabFailed
from gitpulse_service.log.accesses import Accesses
from gitpulse_service.log.backfills import Backfills
from gitpulse_service.log.connection import connect
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.worker.gitlab_api import GitLab

LOOK_EVERY = 0.5
"""Seconds."""


async def run(project: str, since: datetime, *, url: str, token: str) -> None:
    """Asks for it, unless that is under way, and follows it to its end. Raises CommandError, ServiceError."""
    settings = ServiceSettings.load()
    async with connect(settings.redis_url) as redis:
        accesses = Accesses.from_settings(redis, settings)
        if token:
            if not (url and settings.installation_key):
                raise SettingsError("--token-file: needs --url and GITPULSE_INSTALLATION_KEY, which seals the token")
            own = Access(f"command/{url}", url.rstrip("/"), token)
            await accesses.grant(own)
        access, number = await _find(await accesses.all(), project, f"command/{url}" if token else "", url)
        parent, until = f"project/{number}", int(time.time())
        name = f"command/{access.name}/{parent}"
        wanted = Backfill(name, access.name, access.instance, parent, int(since.timestamp()), until)
        await _follow(Backfills(redis), await Backfills(redis).ask(wanted), project)


async def show(output: Format) -> None:
    """Prints how far all backfills have come."""
    async with connect(ServiceSettings.load().redis_url) as redis:
        rows = await Backfills(redis).shown()
    show_rows(rows, output, none="no backfills")


async def _find(known: dict[str, Access], project: str, name: str, url: str) -> tuple[Access, int]:
    """The first access through which GitLab shows the project, and its id there."""
    wanted = url.rstrip("/")
    tried = [it for it in known.values() if (it.name == name if name else wanted in ("", it.instance))]
    if not tried:
        raise CommandError("no GitLab may be asked: set GITPULSE_GITLAB_URL and GITPULSE_GITLAB_TOKEN, or have the"
                           " operator's connection and its GITPULSE_INSTALLATION_KEY")  # fmt: skip
    for access in tried:
        gitlab = GitLab(access)
        try:
            return access, int((await gitlab.get(f"/projects/{quote(project, safe='')}"))["id"])
        except GitLabFailed as error:
            trouble = error
        finally:
            gitlab.close()
    raise CommandError(f"{project}: {trouble}")


async def _follow(backfills: Backfills, request: Backfill, project: str) -> None:
    with console.status(f"{project}: waits for a worker") as line:
        while (filling := await backfills.filling(request)).state == "Running":
            line.update(f"{project}: {_said(filling)}")
            await asyncio.sleep(LOOK_EVERY)
    if filling.state == "Failed":
        raise CommandError(f"{project}: {filling.error}")
    console.print(f"{project}: done; new or changed: {_said(filling)}")


def _said(filling: Filling) -> str:
    rows = ", ".join(f"{name} {count}" for name, count in filling.counts.items() if count) or "nothing yet"
    return rows + (f"; {filling.left} to be looked at" if filling.left else "")
