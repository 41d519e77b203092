"""The figures that the demo compares: what is true by the simulator, and what GitPulse answers over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from gitpulse_sim.truth import Fact

COMPARED = (
    *("commits", "pushes", "merge_requests_opened", "merge_requests_merged", "merge_requests_closed"),
    *("issues_opened", "issues_closed", "pipelines"),
)
SPLIT = {"commits": "person", "pipelines": "label"}
"""Those that are compared group by group too."""


def expected(facts: Mapping[str, Sequence[Fact]]) -> dict[str, object]:
    """Figure -> value, from the simulator's facts of one project."""
    found: dict[str, object] = {metric: len(facts.get(metric, ())) for metric in COMPARED}
    parts = Counter(f"commits: {fact.who[1]}" for fact in facts.get("commits", ()) if fact.who)
    parts += Counter(f"pipelines: {fact.label}" for fact in facts.get("pipelines", ()))
    return {**found, **dict(sorted(parts.items()))}


async def actual(session: aiohttp.ClientSession, receiver: str, path: str) -> dict[str, object]:
    """The same figures from the query API; empty if it does not know the project."""
    async with session.get(f"{receiver}/api/v1/projects/{quote(path, safe='')}/summary") as response:
        if response.status != 200:
            return {}
        counts = {row["metric"]: row["count"] for row in (await response.json())["items"]}
    found: dict[str, object] = {metric: counts[metric] for metric in COMPARED}
    for metric, group in SPLIT.items():
        asked = {"project": path, "group_by": group}
        async with session.get(f"{receiver}/api/v1/metrics/{metric}", params=asked) as response:
            found |= {f"{metric}: {row['group']}": row["count"] for row in (await response.json())["items"]}
    return found


async def await_ready(session: aiohttp.ClientSession, receiver: str, *, seconds: float) -> bool:
    """Whether the receiver knows all hooks, asked until it does or the time is up: what comes sooner GitLab loses."""
    end = time.monotonic() + seconds
    while True:
        async with session.get(f"{receiver}/api/v1/ready") as response:
            if response.status == 200 or time.monotonic() > end:
                return response.status == 200
        await asyncio.sleep(0.05)


async def accepted(session: aiohttp.ClientSession, metrics: str) -> int:
    """Deliveries that the receiver has accepted since it started."""
    return await _sum(session, metrics, "gitlab_webhook_requests_total", status="accepted")


async def await_counted(session: aiohttp.ClientSession, metrics: str, count: int, *, seconds: float) -> int:
    """Deliveries that the worker is done with, asked until there are `count` or the time is up."""
    end = time.monotonic() + seconds
    while True:
        done = await _sum(session, metrics, "gitpulse_events_total")
        if done >= count or time.monotonic() > end:
            return done
        await asyncio.sleep(0.05)


async def _sum(session: aiohttp.ClientSession, metrics: str, name: str, **labels: str) -> int:
    async with session.get(metrics) as response:
        text = await response.text()
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name)
    return int(sum(s.value for s in samples if labels.items() <= s.labels.items()))
