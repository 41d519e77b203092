"""Errors as `application/problem+json` (RFC 9457), whatever goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gitpulse_service.errors import ServiceError
from gitpulse_service.metrics_api.models import ProblemDetails

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

DESCRIPTIONS = {
    HTTPStatus.BAD_REQUEST: "A parameter that is not known, or is not as the schema says.",
    HTTPStatus.UNAUTHORIZED: "No token, or one that is wrong, revoked or over.",
    HTTPStatus.FORBIDDEN: "The token is for other teams.",
    HTTPStatus.NOT_FOUND: "There is no such metric, project, team or person.",
    HTTPStatus.NOT_ACCEPTABLE: "Answers are JSON or CSV.",
    HTTPStatus.CONFLICT: "Several GitLabs have such a project: add `instance`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Each parameter is as it should be; together they make no sense, or too much.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A defect of GitPulse.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database does not answer; try again.",
}


class Problem(Exception):
    """A question that cannot be answered as it is asked."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def add_handlers(app: FastAPI, show: Callable[[Request, Problem], Response] | None = None) -> None:
    """Makes every error of the application a problem, and answers with what `show` makes of it."""
    show = show or (lambda _, problem: response(problem))

    @app.exception_handler(Problem)
    async def asked_wrongly(request: Request, problem: Problem) -> Response:
        return show(request, problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = first["loc"][1] if len(first["loc"]) > 1 else first["loc"][0]
        detail = f"{name}: {first['msg'].removeprefix('Value error, ')}"
        if first["type"] == "extra_forbidden":
            detail = f"there is no parameter {name} here; see docs/api.md"
        return show(request, Problem(HTTPStatus.BAD_REQUEST, detail))

    @app.exception_handler(HTTPException)
    async def not_routed(request: Request, error: HTTPException) -> Response:
        detail = f"there is no {request.method} {request.url.path}; openapi.json beside says what there is"
        return show(request, Problem(HTTPStatus(error.status_code), detail, error.headers))

    @app.exception_handler(Exception)
    async def defect(request: Request, _: Exception) -> Response:  # which goes on to the server, whose log tells of it
        return show(
            request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of GitPulse; the receiver's log has it")
        )

    @app.exception_handler(ServiceError)
    async def away(request: Request, error: ServiceError) -> Response:
        if not error.retryable:  # such as a name with a NUL in it, which PostgreSQL cannot even look for
            return show(request, Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "there can be nothing of such a name"))
        logger.warning("%s", error)  # names the database's host, which is the administrator's business
        detail = "the database or Redis does not answer, or no worker has prepared it yet; try again"
        return show(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"}))


def described() -> dict[int | str, dict[str, Any]]:
    """How OpenAPI is told of them."""
    content = {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}}
    return {int(status): {"description": text, "content": content} for status, text in DESCRIPTIONS.items()}


def response(problem: Problem) -> Response:
    """The answer of a problem."""
    body = ProblemDetails(title=problem.status.phrase, status=problem.status, detail=problem.detail)
    return JSONResponse(body.model_dump(), problem.status, problem.headers, media_type=MEDIA_TYPE)
