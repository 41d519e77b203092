"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.metrics_api.models import ProblemDetails

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A question that cannot be answered as it is asked."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class ProblemRoute(APIRoute):
    """A route whose errors are problems, in whichever application it is included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors translated."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except Problem as problem:
                return _response(problem.status, problem.detail)
            except RequestValidationError as error:
                first = error.errors()[0]
                return _response(HTTPStatus.BAD_REQUEST, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
            except StoreUnavailable:  # its text names the database's host, which is the administrator's business
                detail = "the database does not answer, or no worker has prepared it yet; try again"
                return _response(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})

        return handler


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI is told that a route may answer with these."""
    content = {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def _response(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = ProblemDetails(title=status.phrase, status=status, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)
