"""A year of a company to look at, in a browser; and sites where something is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import redis as redis_client
from playwright.sync_api import Browser

from gitpulse_service.contract import HOOKS, HookReport, feedback_key
from harness import browser as harness, year
from harness.browser import Visit
from harness.receiver import serving, settings
from harness.redis import redis_server

_MINUTE, _NOW = 60_000, int(datetime(2026, 3, 1, 21, 40, tzinfo=UTC).timestamp() * 1000)
_STABLE = {"generation": 3, "type": "SigningToken", "phase": "Stable", "rotatedAt": "2026-02-11T03:10:00Z"}
HOOK_REPORTS = [
    ("acme/website", "delivering", "Proven", "Deliveries arrive.", _STABLE, {}, {}, 2),
    ("acme/shop", "delivering", "Proven", "Deliveries arrive.", {**_STABLE, "phase": "Pushed", "generation": 4}, {},
     {}, 6),
    ("acme/api", "delivering", "Proven", "Deliveries arrive.", _STABLE, {"count": 2, "lastAt": "2026-02-20T08:00:00Z"},
     {"phase": "Done", "from": "2026-02-20T07:10:00Z", "to": "2026-02-20T07:58:00Z", "resent": 31, "lost": 0}, 9),
    ("acme/search", "quiet", "Silent", "No event for 3 days; the hook answers its test.", _STABLE, {}, {}, 4400),
    ("acme/infra/runners", "unreachable", "ReceiverUnreachable", "GitLab's log of the hook says: Failed to open TCP"
     " connection to gitpulse.example.com:443. Let GitLab's network reach that address.", _STABLE,
     {"count": 1, "lastAt": "2026-02-28T11:00:00Z"}, {}, 310),
    ("acme/infra/terraform", "refused", "SecretRefused", "Deliveries come with a secret that is not ours: somebody has"
     " edited the hook. It is put right within a minute.", _STABLE, {}, {}, 95),
]  # fmt: skip


# Of each module, and ended with it: Playwright keeps a loop running beside which no other test could run its own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with harness.browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    return harness.axe()


@pytest.fixture(scope="module")
def redis_of_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With hooks that the operator has told of."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        with redis_client.Redis.from_url(server.url) as client:
            for number, (path, state, reason, message, secret, revivals, repair, age) in enumerate(HOOK_REPORTS, 1):
                report = HookReport(
                    resource=f"gitpulse/{path.split('/')[-1]}", state=state, reason=reason, message=message,
                    instance=year.GITLAB, kind="Project", path=path, hook_id=f"hook-{number}", number=number,
                    secret=secret, revivals=revivals, repair=repair,
                )  # fmt: skip
                client.hset(HOOKS, path, msgspec.json.encode(report))
                notes = {f"accepted:{secret['generation']}": _NOW - age * _MINUTE}
                if state == "refused":
                    notes |= {"refused": _NOW - 3 * _MINUTE, "refused:reason": "bad_signature"}
                client.hset(feedback_key(f"hook-{number}"), mapping=notes)
        yield server.url


@pytest.fixture(scope="session")
def database_of_a_year(tmp_path_factory: pytest.TempPathFactory) -> str:
    return year.write(tmp_path_factory.mktemp("year") / "year.db")


@pytest.fixture(scope="module")
def site(redis_of_site: str, database_of_a_year: str) -> Iterator[str]:
    """The year's dashboard."""
    with _site(redis_of_site, database_of_a_year) as url:
        yield url


@pytest.fixture(scope="module")
def empty_site(redis_of_site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One where nothing has been counted."""
    with _site(redis_of_site, year.write(tmp_path_factory.mktemp("empty") / "empty.db", empty=True)) as url:
        yield url


@pytest.fixture(scope="module")
def broken_site(redis_of_site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One whose database has no tables."""
    with _site(redis_of_site, f"sqlite:///{tmp_path_factory.mktemp('broken') / 'none.db'}") as url:
        yield url


@contextlib.contextmanager
def _site(redis_url: str, database_url: str) -> Iterator[str]:
    with serving(settings(redis_url, database_url=database_url, api_tokens_required=False)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visit(chromium: Browser, axe: str) -> Iterator[Callable[..., Visit]]:
    """Makes a visitor of a site: `theme`, `width` in pixels, and Playwright's options of a context."""
    with contextlib.ExitStack() as stack:

        def make(url: str, *, theme: str = "light", width: int = 1380, **options: Any) -> Visit:
            size = {"width": width, "height": 900}
            visitor = Visit(chromium, url, axe, color_scheme=theme, viewport=size, **options)
            stack.callback(visitor.context.close)
            return visitor

        yield make
