"""The query API: numbers straight from the store, without a queue or GitLab in between."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.metrics_api import models
from gitpulse_service.metrics_api.problems import Problem, ProblemRoute, problem_responses
from gitpulse_service.store import queries

Moment = Annotated[str | None, Query(description="ISO 8601 date or time; without an offset it is UTC.")]


def create_router(engine: AsyncEngine) -> APIRouter:
    """The routes under `/api/v1/projects`, for any application to include."""
    router = APIRouter(
        prefix="/api/v1/projects",
        tags=["projects"],
        route_class=ProblemRoute,
        responses=problem_responses(HTTPStatus.SERVICE_UNAVAILABLE),
    )

    @router.get("")
    async def projects() -> models.Projects:
        """Every project that at least one event told of, by path."""
        return models.Projects(projects=[_project(project) for project in await queries.projects(engine)])

    @router.get(
        "/{project:path}/summary",
        responses=problem_responses(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def summary(
        project: Annotated[str, Path(description="GitLab's project id, or the full path, URL-encoded.")],
        from_: Annotated[Moment, Query(alias="from")] = None,
        to: Moment = None,
        instance: Annotated[str | None, Query(description="Base URL of the GitLab, where several are watched.")] = None,
    ) -> models.Summary:
        """One project's counts from `from` until just before `to`; without them, of all time."""
        span = queries.Span(_moment("from", from_), _moment("to", to))
        if span.start is not None and span.end is not None and span.start > span.end:
            raise Problem(HTTPStatus.BAD_REQUEST, "from must not be later than to")
        found = await _find(engine, project, instance)
        return _summary(found, span, await queries.summary(engine, found.key, span))

    return router


async def _find(engine: AsyncEngine, name: str, instance: str | None) -> queries.Project:
    found = await queries.find_projects(engine, name, instance)
    if not found:
        where = f" of {instance}" if instance else ""
        raise Problem(HTTPStatus.NOT_FOUND, f"no event of a project {name}{where} has been counted")
    if len(found) > 1:
        choices = ", ".join(project.instance or "(none)" for project in found)
        detail = f"several GitLab instances have a project {name}; add ?instance= with one of: {choices}"
        raise Problem(HTTPStatus.CONFLICT, detail)
    return found[0]


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    for candidate in (text, text.replace(" ", "+")):  # the + of an offset, sent without encoding it, arrives as a space
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(candidate)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    detail = f"{name} must be an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z"
    raise Problem(HTTPStatus.BAD_REQUEST, detail)


def _project(project: queries.Project) -> models.Project:
    return models.Project(
        id=project.gitlab_id,
        path=project.path,
        name=project.name,
        instance=project.instance,
        web_url=project.web_url,
        last_event_at=project.last_event_at,
    )


def _summary(project: queries.Project, span: queries.Span, counts: queries.Summary) -> models.Summary:
    statuses = counts.pipelines_by_status
    return models.Summary(
        project=_project(project),
        from_=span.start,
        to=span.end,
        pushes=counts.pushes,
        commits=models.Commits(
            total=sum(author.commits for author in counts.authors),
            authors=[models.Author(name=a.name, email=a.email, commits=a.commits) for a in counts.authors],
        ),
        merge_requests=models.MergeRequests(
            opened=counts.merge_requests_opened,
            merged=counts.merge_requests_merged,
            closed=counts.merge_requests_closed,
        ),
        issues=models.Issues(opened=counts.issues_opened, closed=counts.issues_closed),
        pipelines=models.Pipelines(
            total=counts.pipelines,
            success=statuses.get("success", 0),
            failed=statuses.get("failed", 0),
            canceled=statuses.get("canceled", 0),
            skipped=statuses.get("skipped", 0),
        ),
    )
