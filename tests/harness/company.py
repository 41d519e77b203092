"""Rows of a small company, straight into the tables: what has no value given has one that does not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.contract import Person, Team
from gitpulse_service.store import keys, people, tables

ANN, BEN, CLEO, BOT, STRANGER = range(1, 6)
"""Identities."""
MONDAY = datetime(2026, 2, 2, tzinfo=UTC)
Row = dict[str, Any]

NAMES = {ANN: "Ann", BEN: "Ben", CLEO: "Cleo", BOT: "renovate-bot", STRANGER: "Stranger"}
TEAMS = [
    Team("web", (Person("Ann"), Person("Ben")), "Europe/Berlin", bots=("renovate*",)),
    Team("api", (Person("Ben"), Person("Cleo")), "America/Sao_Paulo"),
]


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    """On that Monday."""
    return MONDAY + timedelta(hours=hour, minutes=minute, seconds=second)


def push(branch: str, before: str, after: str, **more: Any) -> Row:
    return {"ref": f"refs/heads/{branch}", "before": before, "after": after, "received_at": MONDAY, "who": ANN, **more}


def commit(sha: str, **more: Any) -> Row:
    return {"sha": sha, "committed_at": MONDAY, "utc_offset": 0, "author": ANN, "seen_at": MONDAY, **more}


def mr(number: int, **more: Any) -> Row:
    return {"id": number, "author": ANN, "state": "opened", "created_at": MONDAY, **more}


def review(of: int, who: int, moment: datetime) -> Row:
    return {"merge_request": of, "who": who, "at": moment}


def issue(number: int, **more: Any) -> Row:
    return {"id": number, "author": ANN, "type": "Issue", "state": "opened", **more}


def pipeline(number: int, **more: Any) -> Row:
    ended = {"status": "success", "created_at": MONDAY, "finished_at": MONDAY + timedelta(minutes=9)}
    return {"id": number, "ref": "main", "who": ANN, **ended, **more}


def job(number: int, **more: Any) -> Row:
    return pipeline(number, **{"stage": "test", "name": "unit", **more})


async def insert(engine: AsyncEngine, rows: Mapping[sa.Table, Sequence[Row]]) -> None:
    """Writes these rows, of project 1 where nothing else is said, beside two projects, five identities, two teams."""
    said = [
        {"id": it, "instance": "x", "gitlab_id": it, "default_branch": "main", "last_event_at": MONDAY} for it in (1, 2)
    ]
    known = [
        {"id": it, "name": name, "username": name, **keys.handles(name, None, name, None)} for it, name in NAMES.items()
    ]
    async with engine.begin() as connection:
        for table, some in {tables.project: said, tables.identity: known, **rows}.items():
            of = {"version": b"1", "project": 1}
            full = [{c.name: (of | row).get(c.name) for c in table.columns} for row in some]
            if full:
                await connection.execute(sa.insert(table), full)
    await people.replace(engine, "test", TEAMS)
