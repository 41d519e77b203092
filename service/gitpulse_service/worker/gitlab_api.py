"""GitLab's REST API, as workers read it: each request in a thread, none tried twice, none sooner than agreed."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import requests

from gitpulse_service.contract import Access
from gitpulse_service.errors import GitLabFailed

TIMEOUT = 8
"""Seconds for one request."""
PAGE = 100
"""Rows a page, the most that GitLab gives."""


class GitLab:
    """One GitLab through one access."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session = requests.Session()
        self._session.headers.update({"PRIVATE-TOKEN": access.token, "User-Agent": "gitpulse"})

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    async def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - JSON
        """An object. Raises GitLabFailed."""
        return (await self._ask(path, query)).json()

    async def page(self, path: str, number: int = 1, **query: object) -> list[Any]:
        """One page of a list; one that is not full is the last. Raises GitLabFailed."""
        rows = await self.get(path, page=number, per_page=PAGE, **query)
        return rows if isinstance(rows, list) else []

    async def total(self, path: str, **query: object) -> int:
        """How many there are in a list; 0 where it is too long for GitLab to say. Raises GitLabFailed."""
        said = (await self._ask(path, {**query, "per_page": 1})).headers.get("X-Total", "")
        return int(said) if said.isdecimal() else 0

    async def _ask(self, path: str, query: dict[str, object]) -> requests.Response:
        await asyncio.sleep(1 / self._access.rate)
        return await asyncio.to_thread(self._send, path, query)

    def _send(self, path: str, query: dict[str, object]) -> requests.Response:
        access = self._access
        try:
            with tempfile.NamedTemporaryFile("w", prefix="gitpulse-ca-", suffix=".pem") as file:  # which requests wants
                file.write(access.ca_bundle or "")
                file.flush()
                answer = self._session.get(
                    f"{access.instance}/api/v4{path}",
                    params={name: str(value) for name, value in query.items()},
                    verify=file.name if access.ca_bundle else True,
                    timeout=TIMEOUT,
                    allow_redirects=False,  # the token is for this GitLab alone
                )
            if answer.ok and not answer.is_redirect:
                answer.json()
                return answer
        except requests.ReadTimeout:
            raise GitLabFailed(f"{access.instance} takes too long over {path}", status=504) from None
        except requests.RequestException as error:
            raise GitLabFailed(f"{access.instance} does not answer like a GitLab ({type(error).__name__})") from None
        if answer.status_code == requests.codes.too_many_requests:
            wait = answer.headers.get("Retry-After", "")
            seconds = float(wait) if wait.isdigit() else 60.0
            raise GitLabFailed("GitLab asks for fewer requests (429)", status=429, retry_after=seconds)
        raise GitLabFailed(
            f"{access.instance} answers {answer.status_code} to {path}",
            status=answer.status_code,
            what="Commit" if "Commit Not Found" in answer.text else "",
        )
