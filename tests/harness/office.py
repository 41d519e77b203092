"""A small company in January 2026, as rows in the base tables: what the query API is asked about in tests and docs.

Two projects of one GitLab. Ann (team `web`) and Ben (teams `web` and `ops`) and somebody whom the map does not know.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gitpulse_service.contract import Person, Team
from gitpulse_service.store import keys, people, tables

GITLAB = "https://gitlab.example.com"
WEBSITE, API = keys.project(GITLAB, 42), keys.project(GITLAB, 43)
ANN, BEN, CLEO = (keys.account(GITLAB, number) for number in (1, 2, 3))
NAMES = {ANN: "Ann Lee", BEN: "Ben Okafor", CLEO: "=Cleo()"}
TEAMS = [
    Team("web", (Person("Ann Lee", usernames=("ann",)), Person("Ben Okafor", usernames=("ben",))), "Europe/Berlin"),
    Team("ops", (Person("Ben Okafor"),)),
]
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""A Monday."""


async def settle(engine: AsyncEngine) -> None:
    """Writes it all."""
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        for number, path in ((42, "acme/website"), (43, "acme/api")):
            await put(
                connection, tables.project, id=keys.project(GITLAB, number), instance=GITLAB, gitlab_id=number,
                path=path, name=path[5:].title(), web_url=f"{GITLAB}/{path}", default_branch="main",
                last_event_at=START,
            )  # fmt: skip
        for who, name in NAMES.items():
            handles = keys.handles(name, None, name[:3].lower(), None)
            await put(
                connection, tables.identity, id=who, instance=GITLAB, gitlab_id=list(NAMES).index(who) + 1, name=name,
                username=name[:3].lower(), **handles,
            )  # fmt: skip
        # Three a day of Ann's, late on Wednesday the last: in Berlin it is Thursday.
        for day, hour in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 14.5)):
            await _commit(connection, WEBSITE, ANN, START + timedelta(days=day, hours=hour))
        await _commit(connection, WEBSITE, BEN, START)
        await _commit(connection, API, BEN, START + timedelta(days=1))
        await _commit(connection, API, CLEO, START + timedelta(days=1))
        for number, hours in enumerate((1, 2, 6)):
            await put(
                connection, tables.merge_request, project=WEBSITE, id=number, iid=number, author=ANN, state="merged",
                created_at=START, merged_at=START + timedelta(hours=hours),
                deployed_at=None if number else START + timedelta(hours=7),
            )  # fmt: skip
        for number, day in enumerate((0, 1, 2, 3)):
            await put(
                connection, tables.deployment, project=WEBSITE, id=number, environment="production", tier="production",
                who=BEN, status="success", succeeded_at=START + timedelta(days=day, hours=7),
            )  # fmt: skip
        await put(
            connection, tables.issue, project=WEBSITE, id=9, iid=9, author=ANN, type="Incident", state="closed",
            labels="[]", created_at=START, closed_at=START + timedelta(hours=1.5),
        )  # fmt: skip
    await people.replace(engine, "test", TEAMS)


async def put(connection: AsyncConnection, table: sa.Table, **row: Any) -> None:
    """One row; whatever is not said is not known."""
    version = {"version": b""} if "version" in table.c else {}
    await connection.execute(sa.insert(table).values(**version, **row))


async def _commit(connection: AsyncConnection, project: int, author: int, at: datetime) -> None:
    sha = f"{project:x}{author:x}{at:%d%H%M}"
    await put(
        connection, tables.commit, project=project, sha=sha, author=author, committed_at=at, utc_offset=60, seen_at=at
    )
