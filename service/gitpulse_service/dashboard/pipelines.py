"""Pipelines: how many succeed, how long they take, which jobs fail, and which are flaky."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

from fastapi import APIRouter, Request, Response

from gitpulse_service.dashboard.cards import Card, Cell, Column, by_status, facts, over_time, place, tiles
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import board
from gitpulse_service.dashboard.view import AskPage, View, look
from gitpulse_service.store import objects

_MOST = 12

router = APIRouter()


@router.get("/pipelines")
async def pipelines(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """Of all projects, or those of the filters."""
    view = await look(request, viewer, asked)
    lasts = {
        "Duration, median": ("pipeline_duration", "p50"),
        "Duration, 9 of 10": ("pipeline_duration", "p90"),
        "Waiting, median": ("pipeline_queue_time", "p50"),
    }
    cards = {
        "statuses": partial(by_status, view),
        "duration": partial(over_time, view, "Duration", "line", lasts),
        "success": partial(over_time, view, "Success", "line", {
            "Pipelines": ("pipeline_success_rate", "mean"), "Jobs": ("job_success_rate", "mean")}),
        "stages": partial(stages, view),
        "jobs": partial(jobs, view),
        "flaky": partial(flaky, view),
        "slowest": partial(slowest, view),
    }  # fmt: skip
    names = ("pipeline_success_rate", "pipeline_duration", "pipeline_queue_time", "time_to_green", "job_success_rate")
    return await board(view, "Pipelines", cards, partial(tiles, view, *names))


async def stages(view: View) -> Card:
    """How often the jobs of each stage fail."""
    done, failed = Counter[str](), Counter[str]()
    for row in (await view.series("job_success_rate", group_by="label")).items:
        stage = str(row.group or "").partition("/")[0]
        done[stage] += row.count
        failed[stage] += row.count - int(row.sum or 0)
    rows = [[Cell(stage), Cell(n), Cell(done[stage]), Cell(n / done[stage])] for stage, n in failed.most_common(_MOST)]
    columns = [Column("Stage", "text"), Column("Failed", bars=True), Column("Finished"), Column("Failing", "ratio")]
    return Card("Failing stages", columns, rows, ["job_success_rate"])


async def jobs(view: View) -> Card:
    """The jobs that fail most often, with how long they take."""
    rates, lasts = await asyncio.gather(
        *(view.series(it, group_by="label") for it in ("job_success_rate", "job_duration"))
    )
    took = {row.group: row.p50 for row in lasts.items}
    failing = sorted(rates.items, key=lambda row: (int(row.sum or 0) - row.count, str(row.group)))[:_MOST]
    rows = [
        [Cell(row.group), Cell(row.count - int(row.sum or 0), view.behind("job_success_rate", label=str(row.group))),
         Cell(1 - (row.mean or 0)), Cell(took.get(row.group), view.behind("job_duration", label=str(row.group)))]
        for row in failing
    ]  # fmt: skip
    columns = [Column("Job", "text"), Column("Failed", bars=True), Column("Failing", "ratio"),
               Column("Duration, median", "seconds")]  # fmt: skip
    return Card("Failing jobs", columns, rows, ["job_success_rate", "job_duration"])


async def flaky(view: View) -> Card:
    """The jobs that fail and, retried, succeed."""
    found = await objects.flaky(view.caller.engine, view.span, limit=_MOST, **view.whose)
    rows = [
        [Cell(f"{it.stage}/{it.name}", it.url), Cell(it.project, place(view, "project", it.project)),
         Cell(it.pipelines), Cell(it.failures)]
        for it in found
    ]  # fmt: skip
    columns = [Column("Job", "text"), Column("Project", "text"), Column("Pipelines", bars=True), Column("Failures")]
    note = "A job is flaky in a pipeline in which it failed and, retried without a change, succeeded."
    return Card("Flaky jobs", columns, rows, ["jobs"], note=note, empty="No job failed and succeeded in one pipeline.")


async def slowest(view: View) -> Card:
    """The pipelines that took longest."""
    metric = "pipeline_duration"
    found = await objects.behind(view.caller.engine, metric, view.span, largest=True, limit=8, **view.whose)
    return facts(view, "Slowest pipelines", metric, found, wide=True)
