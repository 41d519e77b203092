"""The dashboard as a browser meets it, and the simulated GitLab with which people sign in."""

from __future__ import annotations

import contextlib
import html
import re
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI

from gitpulse_service.contract import Person, Team
from gitpulse_service.dashboard import create_dashboard
from gitpulse_service.dashboard.config import SignIn
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.metrics_api import Hub, Parts
from gitpulse_service.settings import ServiceSettings
from harness.query_api import silence

URL = "https://gitpulse.example.com"
TEAMS = [
    Team("web", (Person("Alice", gitlab_ids=(1,)), Person("Bob", emails=("Bob@Acme.example",)))),
    Team("ops", (Person("Bob"), Person("Chiara", usernames=("chiara",)))),
    Team("", (Person("Dmitri", usernames=("dmitri",)),)),
]


def dashboard(engine, sign_in=None, *, tokens_required=True) -> FastAPI:
    """With a page that tells who looks at it."""
    app = create_dashboard(Parts(engine, tokens_required, Hub(silence)), sign_in)

    @app.get("/who/{rest:path}")
    async def who(viewer: AnyViewer) -> dict[str, Any]:
        teams = viewer.caller.teams
        return {"name": viewer.name, "teams": "all" if teams is None else sorted(teams)}

    return app


class Browser(httpx2.AsyncClient):
    """Keeps cookies, and goes where a person goes."""

    gitlab: httpx2.AsyncClient

    async def to_gitlab(self, path: str = "/who/") -> httpx2.URL:
        """From a page that asks them to sign in, by its link."""
        page = await self.get(path)
        assert page.status_code == 401, page.text
        (link,) = re.findall(r'href="(/signin[^"]*)"', page.text)
        answer = await self.get(html.unescape(link))
        assert answer.status_code == 303, answer.text
        return httpx2.URL(answer.headers["location"])

    async def chosen(self, asked: httpx2.URL, user: str | None) -> str:
        """Where GitLab sends them when they have said who they are; None: they would not."""
        data = dict(asked.params) | ({"user": user} if user else {"deny": "1"})
        answer = await self.gitlab.post(str(asked.copy_with(query=None)), data=data)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    async def sign_in(self, user: str | None, path: str = "/who/") -> httpx2.Response:
        """All the way; the answer to their coming back."""
        return await self.get(await self.chosen(await self.to_gitlab(path), user))

    async def who(self) -> dict[str, Any]:
        answer = await self.get("/who/")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@dataclass
class Place:
    """A dashboard with its sign-in."""

    engine: Any
    settings: dict[str, Any]
    stack: contextlib.AsyncExitStack

    async def browser(self, **settings: Any) -> Browser:
        sign_in = SignIn.of(ServiceSettings.model_validate(self.settings | settings))
        app = dashboard(self.engine, sign_in)
        transport = httpx2.ASGITransport(app=app, client=("192.0.2.1", 1234))
        browser = await self.stack.enter_async_context(Browser(transport=transport, base_url=URL))
        browser.gitlab = await self.stack.enter_async_context(httpx2.AsyncClient())
        return browser
