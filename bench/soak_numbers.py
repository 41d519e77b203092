"""Random histories, delivered in random order and partly twice, against the truth kept in plain Python."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from gitpulse_service.events.decode import decode
from gitpulse_service.store import queries
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.rows import project_key
from gitpulse_service.store.write import apply

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.histories import START, History, Project

GOALS = {"disagreements": "== 0"}
HISTORIES = 100


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    """Checks `n` histories, each with its own seed, which is shown when it disagrees."""
    disagreements = 0
    for seed in range(n or HISTORIES):
        with tempfile.TemporaryDirectory() as folder:
            wrong = asyncio.run(_disagreements(f"sqlite:///{folder}/store.db", seed))
        for line in wrong:
            say(f"seed {seed}: {line}")
        disagreements += len(wrong)
        if seed % 10 == 9:
            say(f"{seed + 1} histories, {disagreements} disagreements")
    return {"histories": n or HISTORIES, "disagreements": disagreements}


async def _disagreements(url: str, seed: int) -> list[str]:
    random = Random(seed)
    history = History(random, random.randint(1, 300))
    engine = create_engine(url)
    await migrate(engine)
    left = history.accidents()
    while left:
        size = random.randint(1, 60)
        await apply(engine, [(envelope, decode(envelope)) for envelope in left[:size]])
        left = left[size:]
    wrong = []
    for project in history.projects:
        for _ in range(4):
            start = START + timedelta(seconds=random.randint(-90_000, 90_000))
            end = start + timedelta(seconds=random.randint(0, 180_000))
            span = queries.Span(start, end)
            counted = await queries.summary(engine, project_key(project.instance, project.id), span)
            wrong += _differences(project, span, counted)
    await engine.dispose()
    return wrong


def _differences(project: Project, span: queries.Span, counted: queries.Summary) -> list[str]:
    assert span.start is not None
    assert span.end is not None
    ours: dict[str, Any] = {
        "pushes": counted.pushes,
        "authors": {(a.name, a.email): a.commits for a in counted.authors},
        "opened": counted.merge_requests_opened,
        "merged": counted.merge_requests_merged,
        "closed": counted.merge_requests_closed,
        "issues_opened": counted.issues_opened,
        "issues_closed": counted.issues_closed,
        "pipelines": counted.pipelines_by_status,
    }
    truth = project.truth(span.start, span.end)
    return [f"{name} is {ours[name]}, the truth is {truth[name]}" for name in truth if ours[name] != truth[name]]
