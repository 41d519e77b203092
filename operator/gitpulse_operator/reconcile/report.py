"""The status of a GitPulseProject, made of what a run has found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from gitpulse_operator.domain.conditions import (
    CREDENTIALS_VALID,
    DELIVERING,
    HOOK_INSTALLED,
    READY,
    RECONCILING,
    SECRET_CURRENT,
    STALLED,
    TOKEN_ACCEPTED,
    Condition,
    failure,
    find,
    timestamp,
)
from gitpulse_operator.domain.fleet import MOST_SHOWN
from gitpulse_operator.domain.rotation import secret_current
from gitpulse_operator.errors import CredentialsError, OperatorError, TargetNotFound
from gitpulse_operator.reconcile.findings import ANSWERED, Findings
from gitpulse_operator.reconcile.resource import Body, Note, Outcome, Resource, mapping


def outcome(
    resource: Resource,
    found: Findings,
    conditions: Sequence[Condition],
    now: datetime,
    deadline: timedelta,
    error: OperatorError | None = None,
) -> Outcome:
    """The whole status, and what is worth an Event. `deadline`: how long a phase of a rotation may take."""
    conditions = [*conditions, *_secret(resource, found, now, deadline)]
    by_projects = found.group_mode == "ProjectHooks"
    status = resource.answer(conditions, now) | {"hooks": _counts(found, conditions)}
    if found.sum:
        status["hooks"] = dict(found.sum.counts)
        if found.sum.failing:
            status["failingProjects"] = found.sum.failing[:MOST_SHOWN]
    elif by_projects:  # nothing was added up, so what was known stays
        status |= {name: resource.status[name] for name in ("hooks", "failingProjects") if name in resource.status}
    if found.parent:
        status["target"] = {
            "kind": found.parent.kind,
            "id": found.parent.id,
            "path": found.parent.path,
            "instance": found.instance,
        }
        if found.parent.kind == "Group":
            status["groupMode"] = "ProjectHooks" if by_projects else "GroupHook"
    if found.pushed:
        if found.pushed.hook_id:
            status["hookID"] = found.pushed.hook_id
        status["secret"] = {
            "generation": found.pushed.generation,
            "type": found.pushed.verification,
            **_phase(found),
            **({"rotatedAt": found.rotated_at} if found.rotated_at else {}),
        }
    if found.repair:
        status["repair"] = found.repair
    if revivals := _revivals(resource, found, now):
        status["revivals"] = revivals
    status |= {ANSWERED[asker]: value for asker, value in found.rotations_answered.items() if value is not None}
    notes = [note for kind in (READY, SECRET_CURRENT) for note in _transition(resource, conditions, kind)]
    return Outcome(status, [*found.notes, *notes], error, found.again, found.wake)


def followed(found: Findings) -> Sequence[Condition]:
    """The run has come to its end."""
    if found.sum:
        return found.sum.conditions
    return _observed(found) if found.pending else _installed(found)


def _installed(found: Findings) -> list[Condition]:
    """All is as desired; whether it also delivers decides if it is ready."""
    assert found.parent is not None
    assert found.hook is not None
    assert found.delivering is not None
    there = f"Hook {found.hook.id} of {found.parent.path} is as desired."
    parts = [
        Condition(HOOK_INSTALLED, "True", "Installed", there),
        TOKEN_ACCEPTED,
        found.delivering,
    ]
    if found.delivering.status != "False":
        return [Condition(READY, "True", "Installed", there), *parts]
    reason, text = found.delivering.reason, found.delivering.message
    return [*failure(reason=reason, message=text, passing=found.revivable), *parts]


def _observed(found: Findings) -> list[Condition]:
    """`adoptionPolicy: Observe` and something is not as desired."""
    text = f'`adoptionPolicy` is "Observe". It would: {"; ".join(str(action) for action in found.pending)}.'
    there = found.hook is not None
    return [
        Condition(READY, "False", "WouldChange", text),
        Condition(HOOK_INSTALLED, "True" if there else "False", "WouldChange", text),
        TOKEN_ACCEPTED,
    ]


def suspended(resource: Resource) -> list[Condition]:
    """Nothing is looked at, so nothing new is known."""
    text = "`suspend` is true: the hook is left as it is; what it delivers is still received."
    known = [find(resource.conditions, kind) for kind in (HOOK_INSTALLED, CREDENTIALS_VALID, DELIVERING)]
    return [Condition(READY, "Unknown", "Suspended", text), *(condition for condition in known if condition)]


def failed(resource: Resource, found: Findings, error: OperatorError) -> list[Condition]:
    """Something stands in the way. What is known of the hook from earlier runs stays true until GitLab denies it."""
    text = str(error)
    hook = find(resource.conditions, HOOK_INSTALLED)
    if hook is None or hook.status != "True" or isinstance(error, TargetNotFound):
        hook = Condition(HOOK_INSTALLED, "False", error.reason, text)
    credentials = find(resource.conditions, CREDENTIALS_VALID)
    if isinstance(error, CredentialsError):
        credentials = Condition(CREDENTIALS_VALID, "False", error.reason, text)
    elif found.credentials_valid:
        credentials = TOKEN_ACCEPTED
    elif credentials is None:
        credentials = Condition(CREDENTIALS_VALID, "Unknown", error.reason, "GitLab has not been asked yet.")
    known = find(resource.conditions, DELIVERING)
    arrives = known or Condition(DELIVERING, "Unknown", "NoHook", "There is no hook yet that could deliver.")
    return [*failure(reason=error.reason, message=text, passing=error.retryable), hook, credentials, arrives]


def _counts(found: Findings, conditions: Sequence[Condition]) -> dict[str, int]:
    states = {condition.type: condition.status for condition in conditions}
    broken = RECONCILING in states or STALLED in states
    installed = states.get(HOOK_INSTALLED) == "True"
    disabled = found.hook is not None and found.hook.state != "executable"
    return {
        "desired": 1,
        "installed": int(installed),
        "delivering": int(states.get(DELIVERING) == "True"),
        "disabled": int(disabled),
        "failing": int(broken and not installed),
    }


def _revivals(resource: Resource, found: Findings, now: datetime) -> Body:
    before = mapping(resource.status.get("revivals"))
    count = before.get("count")
    return (
        {"count": (count if isinstance(count, int) else 0) + 1, "lastAt": timestamp(now)} if found.revived else before
    )


def _phase(found: Findings) -> dict[str, object]:
    phase, since = found.phase, found.phase_since
    if found.standing:
        phase, since = found.standing.phase, found.standing.since
    shown: dict[str, object] = {"phase": phase}
    if since:
        shown["phaseChangedAt"] = timestamp(since)
    if found.previous and phase in ("Pushed", "Proven"):
        shown["previousType"] = found.previous
    return shown


def _secret(resource: Resource, found: Findings, now: datetime, deadline: timedelta) -> list[Condition]:
    if found.standing and found.pushed:
        return [secret_current(found.standing, now=now, deadline=deadline)]
    known = find(resource.conditions, SECRET_CURRENT)
    return [known] if known else []


def _transition(resource: Resource, conditions: Sequence[Condition], kind: str) -> list[Note]:
    """An Event when this condition flips, or is false for a new reason."""
    after = next((condition for condition in conditions if condition.type == kind), None)
    before = find(resource.conditions, kind)
    if after is None or (before and (before.status, before.reason) == (after.status, after.reason)):
        return []
    if after.status == "True":
        flipped = before and before.status != "True"
        return [Note("Normal", kind, after.message)] if flipped else []
    return [Note("Warning" if after.status == "False" else "Normal", after.reason, after.message)]
