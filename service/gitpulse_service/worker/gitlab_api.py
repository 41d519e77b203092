"""GitLab's REST API, as workers read it: each request in a thread, none tried twice, none sooner than agreed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from typing import Any

import requests

from gitpulse_service.contract import Backfill
from gitpulse_service.errors import GitLabFailed

TIMEOUT = 8
"""Seconds for one request."""


async def get(request: Backfill, path: str, query: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """An object, or one page of a list. Raises GitLabFailed."""
    await asyncio.sleep(1 / request.rate)
    return await asyncio.to_thread(_get, request, path, query)


def _get(request: Backfill, path: str, query: Mapping[str, Any]) -> Any:  # noqa: ANN401
    url, headers = f"{request.instance}/api/v4{path}", {"PRIVATE-TOKEN": request.token, "User-Agent": "gitpulse"}
    try:
        with tempfile.NamedTemporaryFile("w", prefix="gitpulse-ca-", suffix=".pem") as file:  # requests wants a file
            file.write(request.ca_bundle or "")
            file.flush()
            verify = file.name if request.ca_bundle else True
            # A redirect is not followed: the token is for this GitLab alone.
            answer = requests.get(url, query, headers=headers, verify=verify, timeout=TIMEOUT, allow_redirects=False)
        if answer.ok and not answer.is_redirect:
            return answer.json()
    except requests.RequestException as error:
        raise GitLabFailed(f"{request.instance} does not answer like a GitLab ({type(error).__name__})") from None
    if answer.status_code == requests.codes.too_many_requests:
        wait = answer.headers.get("Retry-After", "")
        raise GitLabFailed("GitLab asks for fewer requests (429)", retry_after=float(wait) if wait.isdigit() else 60.0)
    raise GitLabFailed(f"{request.instance} answers {answer.status_code} to {path}", status=answer.status_code)
