"""The numbers: one route for every metric, and summaries of all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Request, Response

from gitpulse_service.metrics_api import models
from gitpulse_service.metrics_api.answers import ANSWERS, AnswerRoute, AnyPages, Pages
from gitpulse_service.metrics_api.caller import AnyCaller, Caller
from gitpulse_service.metrics_api.meanings import meanings
from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.metrics_api.questions import AskQuestion, AskWhen, AskWhenOfProject, AskWhose, When, Whose
from gitpulse_service.store import queries
from gitpulse_service.store.facts import METRICS, SUMMARY, Metric
from gitpulse_service.store.queries import Point
from gitpulse_service.store.spans import Span

DORA_SPAN = timedelta(days=30)

router = APIRouter(route_class=AnswerRoute, responses=ANSWERS)

MetricName = Annotated[str, Path(description="One of docs/metrics.md.", json_schema_extra={"enum": sorted(METRICS)})]
ProjectName = Annotated[str, Path(description="GitLab's project id, or the full path.", examples=["acme/website"])]


@router.get("/metrics", tags=["metrics"])
async def catalogue(pages: AnyPages, _: AnyCaller) -> models.ListOf[models.Metric]:
    """What is counted; docs/metrics.md defines each."""
    said = meanings()
    found = {
        it.name: {"name": it.name, "unit": it.unit, "group_by": _groups(it), "buckets": not it.as_of}
        | {"meaning": said[it.name]}
        for it in METRICS.values()
    }
    return pages.of(models.Metric, found)


@router.get("/metrics/{metric}", tags=["metrics"])
async def series(
    metric: MetricName, asked: AskQuestion, caller: AnyCaller, request: Request, response: Response
) -> models.Series:
    """One metric: in all, by bucket, by group, or both. Without `from`, `to` and `bucket`, of all time."""
    it = METRICS.get(metric)
    if it is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no metric {metric}; /api/v1/metrics lists them")
    if asked.group_by and asked.group_by not in _groups(it):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{metric} is grouped by one of: {', '.join(_groups(it))}")
    if asked.bucket and it.as_of:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{metric} is what is so at the end of the span: no buckets")
    zone, filters = await whose(asked, caller)
    at = asked.zone(zone)
    span, edges = asked.edges(at) if asked.bucket else (asked.span(at), None)
    points = await queries.series(caller.engine, metric, span, edges=edges, group=asked.group_by, **filters)
    places: dict[tuple[int, _Group], Point | None] = {}
    if not asked.group_by:  # the quiet buckets too
        places = {(bucket, None): None for bucket in range(len(edges or (0, 0)) - 1)}
    places |= {(point.bucket or 0, name): point for point, name in await _named(points, asked.group_by, caller)}
    shown, following = Pages(asked, request, response).cut(places, _order)
    bounds = [it and it.astimezone(at) for it in (span.start, *(edges or ())[1:-1], span.end)]
    items = [
        models.Row(start=bounds[bucket], end=bounds[bucket + 1], group=group, **_figures(places[bucket, group]))
        for bucket, group in shown
    ]
    return models.Series(metric=metric, unit=it.unit, **_asked(span, at), items=items, next=following)


@router.get("/projects/{project:path}/summary", tags=["projects"])
async def project_summary(project: ProjectName, asked: AskWhenOfProject, caller: AnyCaller) -> models.Summary:
    """One project in all metrics; without `from` and `to`, of all time."""
    found = await caller.project(project, asked.instance)
    team, zone = await caller.scope(asked.team)
    about = {"project": models.Project.model_validate(found), "team": team}
    return await _summary(caller, asked, zone, about, projects=[found.key], team=team)


@router.get("/teams/{team:path}/summary", tags=["people"])
async def team_summary(team: str, asked: AskWhen, caller: AnyCaller) -> models.Summary:
    """What a team's members did, in all metrics; without `from` and `to`, of all time."""
    _, zone = await caller.scope(team)
    return await _summary(caller, asked, zone, {"team": team}, team=team)


@router.get("/people/{person:path}/summary", tags=["people"])
async def person_summary(person: str, asked: AskWhen, caller: AnyCaller) -> models.Summary:
    """One person in all metrics, by the name that `group_by=person` shows; without `from` and `to`, of all time."""
    _, zone = await caller.scope(None, person)
    summary = await _summary(caller, asked, zone, {"person": person}, person=person)
    if not any(item.count for item in summary.items) and person not in await caller.people():
        raise Problem(HTTPStatus.NOT_FOUND, f"nobody named {person} did anything that was counted")
    return summary


@router.get("/dora", tags=["metrics"])
async def dora(asked: AskWhose, caller: AnyCaller) -> models.Dora:
    """The four keys of DORA; without `from`, of the last 30 days."""
    zone, filters = await whose(asked, caller)
    at = asked.zone(zone)
    span = asked.span(at, last=DORA_SPAN)
    names = ("deployments", "incidents_opened", "lead_time_for_changes", "time_to_restore")
    totals = await queries.totals(caller.engine, names, span, **filters)
    made, incidents, lead, restore = (totals[name] for name in names)
    assert span.start
    assert span.end
    days = (span.end - span.start) / timedelta(days=1)
    return models.Dora(
        **_asked(span, at),
        deployments=made.count,
        incidents=incidents.count,
        deployments_per_day=made.count / days if days else None,
        lead_time_for_changes=lead.p50,
        time_to_restore=restore.p50,
        change_failure_rate=incidents.count / made.count if made.count else None,
    )


def _groups(metric: Metric) -> list[str]:
    return ["project", "person", "team", *(["label"] if metric.labels else [])]


async def whose(asked: Whose, caller: Caller) -> tuple[str, dict[str, Any]]:
    """The time zone to go by, and what to ask the store for. Raises Problem."""
    team, zone = await caller.scope(asked.team, asked.person)
    keys = [(await caller.project(name, asked.instance)).key for name in asked.project]
    return zone, {"projects": keys or None, "team": team, "person": asked.person, "bots": asked.bots}


async def _summary(
    caller: Caller,
    asked: When,
    zone: str,
    about: dict[str, Any],
    **filters: Any,  # noqa: ANN401 -- of `totals`
) -> models.Summary:
    at = asked.zone(zone)
    span = asked.span(at)
    totals = await queries.totals(caller.engine, SUMMARY, span, bots=asked.bots, **filters)
    items = [models.SummaryRow(metric=it, unit=METRICS[it].unit, **_figures(totals[it])) for it in SUMMARY]
    return models.Summary(**_asked(span, at), **about, items=items)


def _figures(point: Point | None) -> dict[str, Any]:
    return {name: getattr(point, name, 0 if name == "count" else None) for name in models.Figures.model_fields}


def _asked(span: Span, zone: ZoneInfo) -> dict[str, Any]:
    bounds = {"from_": span.start, "to": span.end}
    return {**{name: at and at.astimezone(zone) for name, at in bounds.items()}, "time_zone": zone.key}


_Group: TypeAlias = str | int | None


async def _named(points: Collection[Point], group: str | None, caller: Caller) -> Iterable[tuple[Point, _Group]]:
    """The points with the names of their groups, without what this caller may not see."""
    if group == "project":
        names = await caller.names({int(point.group) for point in points if point.group is not None})
        return [(point, names[key]) for point in points if (key := int(point.group or 0)) in names]
    seen = caller.teams if group == "team" else None
    return [(point, point.group) for point in points if seen is None or point.group in seen]


def _order(place: tuple[int, _Group]) -> list[str | int]:
    """By time, then by group, what is nobody's last. The groups of one metric are all texts, or all numbers."""
    bucket, group = place
    return [bucket, 1, ""] if group is None else [bucket, 0, group]
