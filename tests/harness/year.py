"""A year of a company of ten, straight into the tables: the same one each time, up to a Sunday in March 2026."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.contract import Person, Team
from gitpulse_service.store import keys, people, tables
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate

GITLAB = "https://gitlab.example.com"
END = datetime(2026, 3, 1, 22, tzinfo=UTC)
DAYS = 365
RANGE = "from=2026-01-31&to=2026-03-02"
"""Of its last month."""
TEAMS = {
    "web": ("Europe/Berlin", ["Ann Lee", "Ben Okafor", "Cleo Marsh", "Dov Stern"]),
    "api": ("Europe/London", ["Eva Ruiz", "Finn Olsen", "Gita Rao"]),
    "platform": ("America/New_York", ["Hugo Blanc", "Ines Costa", "Jon Park"]),
}
OFFSETS = {"web": 60, "api": 0, "platform": -300}
"""Minutes, of their clocks in winter."""
PROJECTS = {
    "acme/website": "web", "acme/shop": "web", "acme/api": "api", "acme/search": "api",
    "acme/infra/runners": "platform", "acme/infra/terraform": "platform",
}  # fmt: skip
JOBS = (("build", "image"), ("test", "unit"), ("test", "browser"), ("test", "lint"), ("deploy", "production"))
WHO = {name: keys.account(GITLAB, i) for i, name in enumerate((n for _, of in TEAMS.values() for n in of), 1)}
BOT = keys.account(GITLAB, 99)
Row = dict[str, Any]


def project(path: str) -> int:
    """Its key."""
    return keys.project(GITLAB, 100 + [*PROJECTS].index(path))


class _Year:
    def __init__(self) -> None:
        self.chance = random.Random(7)
        self.rows: dict[sa.Table, list[Row]] = {table: [] for table in tables.BASE}
        self.numbers = iter(range(1000, 10**9))

    def add(self, table: sa.Table, **row: Any) -> None:
        self.rows[table].append({c.name: None for c in table.columns} | {"version": b"1"} | row)

    def work(self) -> None:
        for back in range(DAYS, -1, -1):
            day = (END - timedelta(days=back)).replace(hour=0)
            busy = (0.12 if day.weekday() > 4 else 1.0) * (0.35 if (day.month, day.day // 8) == (12, 3) else 1.0)
            busy *= 0.75 + 0.35 * (DAYS - back) / DAYS
            for path, team in PROJECTS.items():
                for name in TEAMS[team][1]:
                    for _ in range(self._some(1.9 * busy)):
                        self._change(path, name, team, day)

    def _some(self, mean: float) -> int:
        whole, rest = divmod(self.chance.expovariate(1 / mean) if mean else 0, 1)
        return int(whole) + (self.chance.random() < rest)

    def _change(self, path: str, name: str, team: str, day: datetime) -> None:
        """A few commits pushed, often as a merge request, with a pipeline."""
        chance, key, who = self.chance, project(path), WHO[name]
        hour = min(22.9, max(5.0, chance.choice((10.4, 15.2)) + chance.gauss(0, 1.6)))
        at = (day + timedelta(hours=hour, minutes=-OFFSETS[team])).replace(microsecond=0)
        shas = [f"{chance.getrandbits(160):040x}" for _ in range(1 + self._some(0.8))]
        for i, sha in enumerate(shas):
            self.add(
                tables.commit, project=key, sha=sha, committed_at=at - timedelta(minutes=17 * i), author=who,
                utc_offset=OFFSETS[team], seen_at=at, added=chance.randrange(3),
                modified=1 + chance.randrange(5), removed=chance.randrange(2),
            )  # fmt: skip
        number, branch = next(self.numbers), f"topic-{shas[0][:5]}"
        self.add(
            tables.push, project=key, ref=f"refs/heads/{branch}", before="0" * 40, after=shas[0], received_at=at,
            who=who, forced=int(chance.random() < 0.05),
        )  # fmt: skip
        self._pipeline(key, who, branch, at, number)
        if chance.random() < 0.45:
            self._merge_request(key, name, team, branch, at, number)
        if chance.random() < 0.18:
            closed = at + timedelta(days=chance.expovariate(1 / 6))
            done = closed < END
            self.add(
                tables.issue, project=key, id=number, iid=number - 999, author=who,
                state="closed" if done else "opened", type="Incident" if chance.random() < 0.06 else "Issue",
                labels="[]", created_at=at,
                closed_at=closed.replace(microsecond=0) if done else None,
            )  # fmt: skip

    def _merge_request(self, key: int, name: str, team: str, branch: str, at: datetime, number: int) -> None:
        chance = self.chance
        waits = min(timedelta(days=9), timedelta(hours=chance.lognormvariate(1.1, 1.0)))
        merged = (at + waits * (1.4 + chance.random())).replace(microsecond=0)
        closed = chance.random() < 0.07
        done = merged < END and not closed and chance.random() > 0.01
        self.add(
            tables.merge_request, project=key, id=number, iid=number - 999, author=WHO[name], source_branch=branch,
            state="merged" if done else "closed" if closed and merged < END else "opened", target_branch="main",
            created_at=at, merged_at=merged if done else None,
            closed_at=merged if closed and merged < END else None,
            deployed_at=merged + timedelta(hours=2) if done and chance.random() < 0.6 else None,
        )  # fmt: skip
        mates = [it for it in TEAMS[team][1] if it != name]
        weights = [4, 2, 1][: len(mates)]
        others = {*chance.choices(mates, weights, k=2)} if chance.random() < 0.92 else set()
        for i, mate in enumerate(sorted(others)):
            moment = (at + waits * (1 + 0.3 * i)).replace(microsecond=0)
            if moment < END:
                self.add(tables.review, project=key, merge_request=number, who=WHO[mate], at=moment)
        if done:
            self._pipeline(key, WHO[name], "main", merged, next(self.numbers))
            if chance.random() < 0.5:
                self.add(
                    tables.deployment, project=key, id=number, environment="production", tier="production",
                    who=WHO[name], status="success", succeeded_at=merged + timedelta(minutes=30),
                )  # fmt: skip

    def _pipeline(self, key: int, who: int, ref: str, at: datetime, number: int) -> None:
        chance, start = self.chance, at + timedelta(minutes=1)
        waited, took, failed = int(chance.expovariate(1 / 25)), 0, False
        bot = chance.random() < 0.06
        for i, (stage, name) in enumerate(JOBS[: 5 if ref == "main" else 4]):
            lasts = int({"browser": 420, "image": 160, "unit": 130}.get(name, 50) * chance.uniform(0.7, 1.5))
            breaks = chance.random() < {"browser": 0.09, "unit": 0.04, "lint": 0.03}.get(name, 0.012)
            retried = breaks and name == "browser" and chance.random() < 0.6
            for again in range(2 if retried else 1):
                bad = breaks and not again and not failed
                took += lasts if name == "browser" or stage != "test" else 0
                done = start + timedelta(seconds=took + waited)
                self.add(
                    tables.job, project=key, id=10 * number + 2 * i + again, pipeline=number, stage=stage, name=name,
                    who=who, status="failed" if bad else "success", finished_at=done, duration=lasts,
                    queued_duration=waited // 2, created_at=start,
                )  # fmt: skip
                failed = failed or (bad and not retried)
            if failed:
                break
        self.add(
            tables.pipeline, project=key, id=number, iid=number, ref=ref, who=BOT if bot else who, created_at=at,
            status="failed" if failed else "canceled" if chance.random() < 0.02 else "success",
            finished_at=start + timedelta(seconds=took + waited), duration=took, queued_duration=waited,
        )  # fmt: skip

    def places(self) -> None:
        for path in PROJECTS:
            at = max(row["received_at"] for row in self.rows[tables.push] if row["project"] == project(path))
            self.add(
                tables.project, id=project(path), instance=GITLAB, gitlab_id=100 + [*PROJECTS].index(path), path=path,
                name=path.rpartition("/")[2].title(), web_url=f"{GITLAB}/{path}", default_branch="main",
                last_event_at=at,
            )  # fmt: skip
        for i, (name, who) in enumerate([*WHO.items(), ("renovate-bot", BOT)], 1):
            user = name.split()[0].lower()
            handles = keys.handles(name, None, user, None)
            self.add(tables.identity, id=who, instance=GITLAB, gitlab_id=i, name=name, username=user, **handles)


def rows() -> Iterator[tuple[sa.Table, list[Row]]]:
    """All of them, by table."""
    year = _Year()
    year.work()
    year.places()
    for table, some in year.rows.items():
        yield table, [{column.name: it[column.name] for column in table.columns} for it in some]


async def fill(engine: AsyncEngine) -> None:
    """Writes the year into a store with nothing in it; no worker has rolled it up."""
    async with engine.execution_options(gitpulse_writes=True).begin() as connection:
        for table, some in rows():
            if some:
                await connection.execute(sa.insert(table), some)
    maps = [Team(name, tuple(Person(it) for it in of), zone, bots=("renovate*",)) for name, (zone, of) in TEAMS.items()]
    await people.replace(engine, "year", maps)


def write(path: Path, *, empty: bool = False) -> str:
    """Makes a file of SQLite with the year in it, or nothing; its URL. It may be called where a loop runs already."""
    url = f"sqlite:///{path}"

    async def made() -> None:
        engine = create_engine(url)
        await migrate(engine)
        if not empty:
            await fill(engine)
        await engine.dispose()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, made()).result()
    return url
