"""GitLab's REST API through python-gitlab, which is blocking: requests run in threads of their own, a bounded number.

Nothing is retried here and nothing sleeps for a rate limit: what GitLab answers becomes one of our errors, and whoever
called decides when to come back. What each status means: https://docs.gitlab.com/api/rest/ and the hooks' own pages.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from urllib.parse import quote

import gitlab
import requests

from gitpulse_operator.adapters.answers import explain, unreachable
from gitpulse_operator.adapters.bucket import Bucket
from gitpulse_operator.adapters.turns import Turns
from gitpulse_operator.domain.delivery import Log, Logged
from gitpulse_operator.domain.events import ParentKind
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.revival import Attempt
from gitpulse_operator.domain.spec import ConnectionSpec
from gitpulse_operator.errors import (
    Forbidden,
    GitLabUnavailable,
    InsufficientScope,
    NotYourTurn,
    RateLimited,
    Refused,
    TargetNotFound,
)
from gitpulse_operator.metrics import GITLAB_REQUESTS
from gitpulse_operator.priority import Priority, running
from gitpulse_operator.reconcile.ports import GitLab, Place, TokenInfo

T = TypeVar("T")

PAGE = 100
"""Rows a page, the most that GitLab gives."""
LOG_PAGE = 20
"""The same of a hook's log."""
MANAGED: dict[ParentKind, tuple[str, dict[str, str | int]]] = {
    "Project": ("/projects", {"membership": "true", "min_access_level": 40, "simple": "true"}),
    "Group": ("/groups", {"min_access_level": 50}),
}
"""Where they are listed, and how only those whose hooks one may manage: for Maintainers, and for Owners."""
NO_SAMPLE = ("Ensure ", "Testing not available", "trigger ")
"""How GitLab begins to say that it cannot make a test delivery, as opposed to one that was not answered well."""


class GitLabs:
    """Opens GitLabs that share one pool of threads."""

    def __init__(self, *, timeout: float, threads: int) -> None:
        self._timeout = timeout
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="gitlab")

    def connect(self, spec: ConnectionSpec, token: str) -> GitLab:
        """A GitLab with this token. Makes no request yet."""
        return RestGitLab(spec, token, timeout=self._timeout, pool=self._pool)

    def close(self) -> None:
        """Ends the threads once their requests are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class RestGitLab:
    """One GitLab, with one token and one budget of requests."""

    def __init__(
        self, spec: ConnectionSpec, token: str, *, timeout: float, pool: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        self.url = spec.url
        self._spec = spec
        self._token = token
        self._timeout = timeout
        self._verify = self._keep(spec.ca_bundle) if spec.ca_bundle else True
        self._bucket = Bucket(spec.requests_per_second)
        self._tests = Turns()
        self._resends = Turns()
        self._pool = pool
        self._clients = threading.local()  # python-gitlab promises nothing about threads: each has a client of its own
        self._version: str | None = None
        self._asking = asyncio.Lock()

    def access(self) -> tuple[ConnectionSpec, str]:
        return self._spec, self._token

    async def version(self, *, fresh: bool = False) -> str:
        if self._version and not fresh:  # who knows it waits for nobody who asks anew
            return self._version
        async with self._asking:
            if fresh or self._version is None:
                answer = await self._call(lambda client: client.http_get("/version"))
                self._version = str(answer["version"])
            return self._version

    def budget_left(self) -> float:
        return self._bucket.left()

    async def token(self) -> TokenInfo | None:
        try:
            answer = await self._call(lambda client: client.http_get("/personal_access_tokens/self"))
        except (Forbidden, InsufficientScope, TargetNotFound):
            return None  # not a personal, project or group access token, or one that may not read itself
        expires_at = answer.get("expires_at")
        return TokenInfo(tuple(answer.get("scopes") or ()), str(expires_at) if expires_at else None)

    async def resolve(self, kind: ParentKind, target: str) -> Parent:
        path = f"{MANAGED[kind][0]}/{quote(target, safe='')}"
        answer = await self._call(lambda client: client.http_get(path), about=f'{kind.lower()} "{target}"')
        return _place(kind, answer).parent

    async def places(self, kind: ParentKind, page: int) -> list[Place]:
        path, query = MANAGED[kind]
        rows = await self._call(
            lambda client: client.http_list(path, {**query, "order_by": "id", "sort": "asc"}, page=page, per_page=PAGE)
        )
        return [_place(kind, row) for row in rows]

    async def projects(self, group: Parent) -> list[Parent]:
        wanted = {"include_subgroups": "true", "with_shared": "false", "archived": "false", "simple": "true"}
        wanted |= {"order_by": "id", "sort": "asc"}  # so that what is made meanwhile comes last
        rows = await self._rows(f"/groups/{group.id}/projects", wanted, about=_name(group))
        return [Parent("Project", int(row["id"]), str(row["path_with_namespace"])) for row in rows]

    async def hooks(self, parent: Parent) -> list[ObservedHook]:
        return [_observed(row) for row in await self._rows(_hooks(parent), {}, about=_name(parent))]

    async def create_hook(self, parent: Parent, attributes: Mapping[str, str | bool]) -> ObservedHook:
        return _observed(
            await self._call(
                lambda client: client.http_post(_hooks(parent), post_data=dict(attributes)), about=_name(parent)
            )
        )

    async def update_hook(self, parent: Parent, hook: int, attributes: Mapping[str, str | bool]) -> ObservedHook:
        return _observed(
            await self._call(
                lambda client: client.http_put(f"{_hooks(parent)}/{hook}", post_data=dict(attributes)),
                about=f"hook {hook} of {_name(parent)}",
            )
        )

    async def delete_hook(self, parent: Parent, hook: int) -> None:
        with contextlib.suppress(TargetNotFound):  # somebody was faster
            await self._call(
                lambda client: client.http_delete(f"{_hooks(parent)}/{hook}"), about=f"hook {hook} of {_name(parent)}"
            )

    async def deliveries(self, parent: Parent, hook: int, *, status: str = "", limit: int = LOG_PAGE) -> Log:
        wanted = {"status": status} if status else {}
        path, about = f"{_hooks(parent)}/{hook}/events", f"log of hook {hook} of {_name(parent)}"
        try:
            rows = await self._rows(path, wanted, about=about, page=LOG_PAGE, limit=limit)
        except TargetNotFound:  # older than its version says, or the hook is gone: the next run sees which
            return Log(readable=False)
        return Log(tuple(map(_logged, rows)))

    async def test_hook(self, parent: Parent, hook: int, trigger: str) -> Attempt:
        with running(Priority.URGENT):  # it revives the hook, or proves its new secret
            return await self._in_turn(self._tests, parent, hook, f"{_hooks(parent)}/{hook}/test/{trigger}")

    async def resend(self, parent: Parent, hook: int, row: int) -> Attempt:
        return await self._in_turn(self._resends, parent, hook, f"{_hooks(parent)}/{hook}/events/{row}/resend")

    async def _in_turn(self, turns: Turns, parent: Parent, hook: int, path: str) -> Attempt:
        """Asks for one delivery. Who has to wait for a turn keeps nobody else from the connection."""
        loop = asyncio.get_running_loop()
        if wait := turns.take(parent.key, hook, loop.time()):
            raise NotYourTurn("GitLab makes five such deliveries a minute", retry_after=wait)
        try:
            status = await self._call(
                lambda client: int(cast("dict[str, Any]", client.http_post(path)).get("response_status", 200)),
                about=f"hook {hook} of {_name(parent)}",
            )  # a test has no such field: it is refused unless it was taken
        except NotYourTurn as error:
            error.retry_after = turns.exhaust(parent.key, loop.time(), error.retry_after)
            raise
        except TargetNotFound as error:  # before 16.11, for groups 17.1; or the log's row is too old by now
            return Attempt("impossible", str(error))
        except Refused as error:
            return Attempt("impossible" if error.said.startswith(NO_SAMPLE) else "failed", error.said)
        return Attempt("delivered") if status < 400 else Attempt("failed", f"answered with {status}")

    async def _rows(
        self, path: str, query: Mapping[str, str], *, about: str, page: int = PAGE, limit: int | None = None
    ) -> list[Any]:
        """What a list has, up to `limit`. It is read in one go; its further pages are paid for when that is over."""
        rows: list[Any] = await self._call(
            lambda client: list(
                itertools.islice(client.http_list(path, dict(query), iterator=True, per_page=page), limit)
            ),
            about=about,
        )
        self._bucket.spend(max(0, len(rows) - 1) // page)
        return rows

    async def _call(self, request: Callable[[gitlab.Gitlab], T], *, about: str = "") -> Any:  # noqa: ANN401 - JSON ends here
        """Runs one request in a thread, when the budget allows. Raises our errors."""
        await self._bucket.take()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: request(self._client()))
        except NotYourTurn:
            raise
        except RateLimited as error:
            self._bucket.pause(error.retry_after)
            raise
        except gitlab.exceptions.GitlabError as error:
            raise explain(error, url=self.url, about=about) from None
        except requests.RequestException as error:
            GITLAB_REQUESTS.labels(error.request.method if error.request else "", "error").inc()
            raise unreachable(error, url=self.url, timeout=self._timeout) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GitLabUnavailable(f"{self.url} does not answer like a GitLab ({type(error).__name__})") from None

    def _client(self) -> gitlab.Gitlab:
        client: gitlab.Gitlab | None = getattr(self._clients, "client", None)
        if client is None:
            client = gitlab.Gitlab(
                self.url,
                private_token=self._token,
                ssl_verify=self._verify,
                timeout=self._timeout,
                user_agent="gitpulse",
                keep_base_url=True,  # a GitLab behind a proxy may name itself wrongly in its links to further pages
            )
            client.session.hooks["response"].append(_look_at)
            self._clients.client = client
        return client

    def _keep(self, ca_bundle: str) -> str:
        """requests wants a file; it goes when this object goes."""
        descriptor, path = tempfile.mkstemp(prefix="gitpulse-ca-", suffix=".pem")
        with os.fdopen(descriptor, "w") as file:
            file.write(ca_bundle)
        weakref.finalize(self, os.unlink, path)
        return path


def _look_at(response: requests.Response, *_: object, **__: object) -> None:
    """Sees each answer before python-gitlab does, which keeps neither its headers nor count of it."""
    GITLAB_REQUESTS.labels(response.request.method or "", str(response.status_code)).inc()
    if response.status_code == requests.codes.too_many_requests:
        response.close()
        wait = response.headers.get("Retry-After", "")
        after = float(wait) if wait.isdigit() else None
        own = response.request.method == "POST" and "json" in response.headers.get("Content-Type", "")
        if own:  # of this one endpoint; the throttle of all answers in plain text
            raise NotYourTurn("GitLab makes five such deliveries a minute", retry_after=after)
        raise RateLimited("GitLab asks for fewer requests (429); trying again later", retry_after=after)


def _hooks(parent: Parent) -> str:
    return f"{MANAGED[parent.kind][0]}/{parent.id}/hooks"


def _place(kind: ParentKind, row: Mapping[str, Any]) -> Place:
    path = str(row["path_with_namespace" if kind == "Project" else "full_path"])
    home = str(row.get("web_url", "")).removesuffix(path).removesuffix("groups/")
    return Place(Parent(kind, int(row["id"]), path), home.rstrip("/"))


def _name(parent: Parent) -> str:
    return f'{parent.kind.lower()} "{parent.path}"'


def _logged(row: Mapping[str, Any]) -> Logged:
    status = str(row["response_status"])
    headers = {str(name).lower(): str(value) for name, value in row["request_headers"].items()}
    sent = headers.get("webhook-timestamp", "")
    return Logged(
        int(row["id"]),
        int(status) if status.isdigit() else None,
        str(row["url"]),
        row.get("request_data") != {"oversize": True},
        datetime.fromtimestamp(int(sent), UTC) if sent.isdigit() else None,
    )


def _observed(row: Mapping[str, Any]) -> ObservedHook:
    return ObservedHook(
        int(row["id"]), {key: value for key, value in row.items() if value is None or isinstance(value, str | bool)}
    )
