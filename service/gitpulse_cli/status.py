"""`gitpulse status`: how all stands, on one screen, and what needs a person."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gitpulse_cli.output import Format, Output, console, dump, facts, show
from gitpulse_cli.places import View, name, placed
from gitpulse_operator.domain.conditions import READY, RECONCILING, SECRET_CURRENT, find, timestamp
from gitpulse_operator.names import CONNECTION, PROJECT, TEAM
from gitpulse_operator.reconcile.resource import Resource, mapping
from gitpulse_service.errors import ServiceError

PATIENCE = timedelta(minutes=15)
"""For what may pass by itself; after that somebody should look."""
TOKEN_ENDS = timedelta(days=14)
"""A token that ends sooner should be renewed."""
TITLES = {
    "connections": "Connections",
    "problems": "Not as it should be",
    "rotations": "Rotations under way",
    "repairs": "Repairs under way",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be."""

    what: str
    reason: str
    since: str | None
    person: bool
    """Whether somebody must act; else it may pass by itself."""
    message: str


@placed
async def status(view: View, output: Output = Format.TABLE) -> int:
    """Show how all stands: connections, projects, hooks, what is not ready and why, rotations and repairs.

    With GITPULSE_REDIS_URL set also how many deliveries wait, and how many could not be counted.
    Exit code 0: all is well, or passes by itself; 1: something needs a person.
    """
    now = datetime.now(UTC)
    connections, projects, teams = [await view.all(kind) for kind in (CONNECTION, PROJECT, TEAM)]
    found = [problem for it in (*connections, *projects, *teams) for problem in problems(it, now)]
    waiting, more = await queue()
    found = sorted([*found, *more], key=lambda it: not it.person)
    whole = {
        "ok": not any(problem.person for problem in found),
        "connections": [_connection(it) for it in connections],
        "projects": _states(projects),
        "hooks": _hooks(projects),
        "deliveries": waiting,
        "problems": [asdict(it) for it in found],
        "rotations": [row for it in projects if (row := _rotation(it))],
        "repairs": [row for it in projects for row in _repairs(it)],
    }
    if output is Format.TABLE:
        _print(whole)
    else:
        dump(whole, output)
    return 0 if whole["ok"] else 1


def problems(resource: Resource, now: datetime) -> Iterator[Problem]:
    """What is not as it should be with a resource."""

    def problem(reason: str, message: str, since: datetime | None = None, *, passing: bool = False) -> Problem:
        waits = passing and since is not None and now - since < PATIENCE
        return Problem(str(resource.ref), reason, timestamp(since) if since else None, not waits, message)

    ready, secret = (find(resource.conditions, kind) for kind in (READY, SECRET_CURRENT))
    if ready is None:
        text = "nobody has looked after it yet: is an operator running, and does it watch this namespace?"
        yield problem("NotReconciled", text, resource.created_at, passing=True)
    elif ready.status != "True" and ready.reason != "Suspended":
        passing = find(resource.conditions, RECONCILING) is not None
        yield problem(ready.reason, ready.message, ready.since, passing=passing)
    if secret and secret.status == "False":
        yield problem(secret.reason, secret.message, secret.since)
    backfill = mapping(mapping(resource.status.get("repair")).get("backfill"))
    if backfill.get("state") == "Failed":
        text = f"what GitLab did not send could not be fetched: {backfill.get('message')}"
        yield problem("GapNotFilled", f"{text}; `gitpulse hooks revive {name(resource)}` tries again")
    ends = resource.status.get("tokenExpiresAt")
    if isinstance(ends, str) and datetime.fromisoformat(ends) - now < TOKEN_ENDS:
        yield problem("TokenExpires", f"its token ends on {ends[:10]}; put a new one into its Secret")


async def queue() -> tuple[dict[str, int] | None, list[Problem]]:
    """Deliveries that wait, and dead letters; None where nobody can be asked, as in the operator's own image."""
    if not os.environ.get("GITPULSE_REDIS_URL"):
        return None, []
    try:
        from gitpulse_service.log.redis_log import RedisEventLog
    except ModuleNotFoundError:
        return None, []
    from gitpulse_service.settings import ServiceSettings

    log = RedisEventLog.from_settings(ServiceSettings.load())
    try:
        survey = await log.survey()
    except ServiceError as error:
        return None, [Problem("Redis", "LogUnavailable", None, True, str(error))]
    finally:
        await log.aclose()
    text = f"{survey.dead_letters} deliveries could not be counted; `gitpulse deadletters list` shows them"
    found = [Problem("deliveries", "DeadLetters", None, True, text)] if survey.dead_letters else []
    return {"waiting": sum(survey.deliveries.values()), "dead_letters": survey.dead_letters}, found


def _connection(resource: Resource) -> dict[str, object]:
    known, ready = resource.status, find(resource.conditions, READY)
    ends = known.get("tokenExpiresAt")
    return {
        "connection": name(resource),
        "url": resource.spec.get("url"),
        "version": known.get("version"),
        "token_ends": ends[:10] if isinstance(ends, str) else None,
        "ready": ready.status if ready else "Unknown",
    }


def _states(projects: list[Resource]) -> dict[str, int]:
    ready = Counter(found.status if (found := find(it.conditions, READY)) else "Unknown" for it in projects)
    return {"total": len(projects), "ready": ready["True"], "not_ready": ready["False"], "unknown": ready["Unknown"]}


def _hooks(projects: list[Resource]) -> dict[str, int]:
    counts = [mapping(it.status.get("hooks")) for it in projects]
    states = ("desired", "installed", "delivering", "disabled", "failing")
    return {state: sum(int(str(each.get(state, 0))) for each in counts) for state in states}


def _rotation(resource: Resource) -> dict[str, object] | None:
    secret, current = mapping(resource.status.get("secret")), find(resource.conditions, SECRET_CURRENT)
    if secret.get("phase", "Stable") == "Stable":
        return None
    about = {"project": name(resource), "phase": secret.get("phase"), "since": secret.get("phaseChangedAt")}
    return {**about, "message": current.message if current else None}


def _repairs(resource: Resource) -> Iterator[dict[str, object]]:
    repair = mapping(resource.status.get("repair"))
    kinds = {"resend": (repair, "phase"), "backfill": (mapping(repair.get("backfill")), "state")}
    for kind, (found, state) in kinds.items():
        if found.get(state) == "Running":
            yield {
                "project": name(resource),
                "kind": kind,
                **{it: found.get(it) for it in ("from", "to", "resent", "lost")},
            }


def _print(whole: Mapping[str, Any]) -> None:
    facts({part: _counted(whole[part]) for part in ("projects", "hooks", "deliveries")})
    for part, title in TITLES.items():
        show(whole[part], Format.TABLE, title=title)
    count = sum(problem["person"] for problem in whole["problems"])
    console.print(f"{count} of these need a person" if count else "nothing needs a person")


def _counted(states: Mapping[str, int] | None) -> str:
    if states is None:
        return "not looked at, for want of GITPULSE_REDIS_URL or of the service's libraries"
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states.items())
