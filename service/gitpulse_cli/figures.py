"""The figures that the demo compares: what is true by the simulator, and what GitPulse answers over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
from prometheus_client.parser import text_string_to_metric_families


def expected(truth: Mapping[str, Any]) -> dict[str, object]:
    """Figure -> value, from the simulator's truth of one project."""
    return {
        "commits": truth["commits"],
        **{f"commits by {email}": count for email, count in truth["authors"].items()},
        "pushes": truth["pushes"],
        **_nested(truth),
    }


async def actual(session: aiohttp.ClientSession, receiver: str, path: str) -> dict[str, object]:
    """The same figures from the query API; empty if it does not know the project."""
    async with session.get(f"{receiver}/api/v1/projects/{quote(path, safe='')}/summary") as response:
        if response.status != 200:
            return {}
        summary = await response.json()
    return {
        "commits": summary["commits"]["total"],
        **_by_email(summary["commits"]["authors"]),
        "pushes": summary["pushes"],
        **_nested(summary),
    }


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


def _nested(source: Mapping[str, Any]) -> dict[str, object]:
    groups = ("merge_requests", "issues", "pipelines")
    return {f"{group.replace('_', ' ')} {k}": v for group in groups for k, v in source[group].items()}


def _by_email(authors: list[Mapping[str, Any]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for author in authors:
        name = f"commits by {author['email']}"
        found[name] = int(str(found.get(name, 0))) + author["commits"]
    return found


async def _sum(session: aiohttp.ClientSession, metrics: str, name: str, **labels: str) -> int:
    async with session.get(metrics) as response:
        text = await response.text()
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name)
    return int(sum(s.value for s in samples if labels.items() <= s.labels.items()))
