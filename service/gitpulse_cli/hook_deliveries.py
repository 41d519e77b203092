"""What GitLab says of one hook: its log, and the test delivery that it makes of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from gitpulse_cli.errors import CommandError, WrongInput
from gitpulse_cli.hook_rows import Hook
from gitpulse_cli.places import View
from gitpulse_operator.domain.delivery import Feedback
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.revival import TESTABLE, Attempt, triggers
from gitpulse_operator.reconcile.orphans import OUR_URL

if TYPE_CHECKING:
    from gitpulse_operator.adapters.directory import RedisDirectory
    from gitpulse_operator.reconcile.ports import GitLab

NOTED_WITHIN = 5.0
"""Seconds after GitLab's answer in which receivers have noted what came."""


async def log_of(view: View, hook: Hook, *, limit: int) -> list[dict[str, object]]:
    """GitLab's log of its last deliveries, newest first; empty before 17.3. Raises OperatorError, WrongInput."""
    with view.gitlab() as open_gitlab:
        gitlab = await open_gitlab(hook.resource)
        log = await gitlab.deliveries(hook.parent, hook.id or 0, limit=limit)
    return [{"id": row.id, "status": row.status, "sent_at": _text(row.at), "url": row.url} for row in log.rows]


async def try_out(view: View, hook: Hook, trigger: str) -> dict[str, object]:
    """Has GitLab deliver a test, of the first event that it can if no `trigger` is named, and says what came of it.

    `result`: `delivered`, `failed` or `impossible`; `said`: GitLab's words; `receivers`: what they have noted of it,
    None where nobody can be asked. Raises OperatorError, CommandError, WrongInput.
    """
    with view.gitlab() as open_gitlab:
        gitlab = await open_gitlab(hook.resource)
        observed = next((it for it in await gitlab.hooks(hook.parent) if it.id == hook.id), None)
        if observed is None:
            raise CommandError(f"hook {hook.id} of {hook.path} is not in GitLab any more; `gitpulse hooks revive`")
        async with _directory() as directory:
            found = OUR_URL.search(str(observed.attributes.get("url")))
            before = await _noted(directory, found[1]) if directory and found else None
            used, attempt = await attempted(gitlab, hook.parent, observed, trigger)
            receivers = None
            if directory and found and before and attempt.result != "impossible":
                receivers = await _wait(directory, found[1], before)
    about = {"hook": hook.id, "target": hook.path, "trigger": used, "result": attempt.result}
    return {**about, "said": attempt.said or None, "receivers": receivers}


async def attempted(gitlab: GitLab, parent: Parent, observed: ObservedHook, trigger: str = "") -> tuple[str, Attempt]:
    """Has GitLab make a test of this event, else of the first that it can. Returns of which. Raises OperatorError."""
    if trigger and trigger not in TESTABLE:
        raise WrongInput(f"GitLab makes no test of {trigger}; it does of {', '.join(TESTABLE)}")
    used, attempt = "", Attempt("impossible", "the hook is for no event that GitLab can make a test of")
    for used in [trigger] if trigger else triggers(observed.attributes):
        attempt = await gitlab.test_hook(parent, observed.id, used)
        if attempt.result != "impossible":
            break
    return used, attempt


@asynccontextmanager
async def _directory() -> AsyncIterator[RedisDirectory | None]:
    """Where receivers note what came; None where this environment does not say where that is."""
    if not (url := os.environ.get("GITPULSE_REDIS_URL")):
        yield None
        return
    from gitpulse_operator.adapters.directory import RedisDirectory

    directory = RedisDirectory(url, b"")  # what they note is not sealed
    try:
        yield directory
    finally:
        await directory.close()


async def _noted(directory: RedisDirectory, hook: str) -> Feedback:
    (feedback,) = await directory.feedback(hook)
    return feedback


async def _wait(directory: RedisDirectory, hook: str, before: Feedback) -> str:
    end = time.monotonic() + NOTED_WITHIN
    while time.monotonic() < end:
        now = await _noted(directory, hook)
        if now.last > before.last:
            return f"accepted, by secret generation {max(now.accepted, key=lambda it: now.accepted[it])}"
        if (now.refused or 0) > (before.refused or 0):
            return f"refused: {now.refused_reason}"
        await asyncio.sleep(0.1)
    return "nothing came"


def _text(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None
