"""Hooks: whether each delivers, and if not why, in plain words; and what waits to be counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from gitpulse_service.dashboard.cards import Card, Cell, Column
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import board
from gitpulse_service.dashboard.view import AskPage, View, look
from gitpulse_service.errors import ServiceError
from gitpulse_service.metrics_api import models

STATES = {
    "refused": ("bad", "Refused", "GitLab delivers, but with a secret that is not ours, so nothing is taken."),
    "unreachable": ("bad", "Unreachable", "GitLab tries to deliver and does not get through."),
    "disabled": ("bad", "Switched off", "GitLab has switched the hook off after failures. It is revived by itself."),
    "failing": ("bad", "Needs you", "Something that only a person can change stands in the way."),
    "unknown": ("warn", "Not known", "The operator has not looked at it yet."),
    "suspended": ("calm", "Suspended", "It is left alone, as its resource asks."),
    "new": ("calm", "New", "Nothing has been delivered yet; the first event will show that it works."),
    "quiet": ("calm", "Quiet", "It works; nothing has happened there for a while."),
    "delivering": ("good", "Delivering", ""),
}
"""How a hook is: its colour, its name, and what that means. The worst comes first."""
PHASES = {
    "Published": "under way: receivers know the new secret, GitLab not yet",
    "Pushed": "under way: GitLab has the new secret, and is to prove it with a delivery",
    "Proven": "done; the old secret is still taken for a while",
}
_GONE = "Redis does not answer, so hooks and what waits are not known right now."
_NOTHING = "No hook is looked after here. A hook that was made by hand is not listed."

router = APIRouter()


@router.get("/hooks")
async def hooks(request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """All that the viewer may see, the worst first."""
    view = await look(request, viewer, asked)
    found = await known(view)
    trouble = [it for it in found if STATES[it.state][0] in ("bad", "warn")]
    cards = {"health": partial(health, view, wide=True), "hooks": partial(_table, found)}
    return await board(view, "Hooks", cards, name="hooks", timeless=True, trouble=trouble, STATES=STATES)


async def known(view: View) -> list[models.Hook]:
    """All, the worst first; none where Redis is away."""
    try:
        found = [models.Hook.model_validate(it) for it in await view.caller.hooks()]
    except ServiceError:
        return []
    for hook in found:
        hook.state = hook.state if hook.state in STATES else "unknown"
        if hook.state == "new" and hook.last_delivery_at:  # receivers know before the operator looks again
            hook.state = "delivering"
    return sorted(found, key=lambda it: ([*STATES].index(it.state), it.path or it.resource))


async def health(view: View, **more: Any) -> Card:  # noqa: ANN401
    """How many hooks deliver, and what waits."""
    try:
        found, waiting = await asyncio.gather(view.caller.hooks(), view.caller.parts.health())
    except ServiceError:
        return Card("Deliveries", [], [], empty=_GONE, **more)
    well = sum(it["state"] in ("delivering", "quiet", "new") for it in found)
    rows = [[Cell("Hooks that deliver", view.href("/hooks")), Cell(f"{well} of {len(found)}"), Cell(_hooks(found))]]
    if waiting and view.caller.teams is None:
        n, dead, oldest = int(waiting["deliveries"]), int(waiting["dead_letters"]), waiting["oldest"]
        late = f"The oldest for {oldest:.0f} s; is a worker running?" if n and oldest > 30 else "Counted in a moment."
        lost = "`gitpulse deadletters list` says why." if dead else "None was set aside."
        rows += [
            [Cell("Deliveries that wait"), Cell(n), Cell(late if n else "All are counted.")],
            [Cell("Dead letters"), Cell(dead), Cell(lost)],
        ]
    return Card("Deliveries", [Column("What", "text"), Column("Now", "text"), Column("That is", "text")], rows, **more)


def _hooks(found: Sequence[Mapping[str, Any]]) -> str:
    bad = [STATES.get(it["state"], STATES["unknown"]) for it in found]
    names = sorted({name.lower() for colour, name, _ in bad if colour in ("bad", "warn")})
    return f"Others: {', '.join(names)}." if names else "All is well." if found else _NOTHING


async def _table(found: Sequence[models.Hook]) -> Card:
    rows = [
        [Cell(it.path or it.resource, it.url), Cell(STATES[it.state][1], badge=STATES[it.state][0]),
         Cell(it.last_delivery_at), Cell(rotation(it)), Cell(it.revivals.get("count", 0)), Cell(gap(it)),
         Cell(it.resource)]
        for it in found
    ]  # fmt: skip
    names = ("Hook", "State", "Last delivery", "Secret", "Revivals", "Last gap", "Resource")
    columns = [Column(it, "count" if it == "Revivals" else "text") for it in names]
    return Card("All hooks", columns, rows, wide=True, empty=_NOTHING)


def rotation(it: models.Hook) -> str:
    """Which secret it has, since when, and how its rotation goes."""
    secret = it.secret
    if not secret.get("generation"):
        return "none yet"
    since = f", since {secret['rotatedAt'][:10]}" if secret.get("rotatedAt") else ""
    phase = PHASES.get(secret.get("phase", ""), "")
    return f"number {secret['generation']}{since}{'; rotation ' if phase else ''}{phase}"


def gap(it: models.Hook) -> str:
    """The last time that deliveries were missed, and what became of them."""
    repair = it.repair
    if not (end := repair.get("to") or repair.get("from")):
        return "none"
    lost, state = repair.get("lost", 0), "being filled" if repair.get("phase") == "Running" else "filled"
    left = f", {lost} fetched from GitLab's API instead" if lost else ""
    return f"{datetime.fromisoformat(end):%Y-%m-%d %H:%M}, {state}: {repair.get('resent', 0)} sent again{left}"
