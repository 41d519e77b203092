"""Has workers fetch what GitLab sent nobody, and tells how that ended. See docs/decisions/0008 and 0041."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from gitpulse_operator.domain.conditions import timestamp
from gitpulse_operator.domain.delivery import Feedback
from gitpulse_operator.reconcile.deliveries import Hook
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Note, Resource, mapping
from gitpulse_service.contract import Backfill, Filling


async def fill(resource: Resource, hook: Hook, found: Findings, world: World, *, delivers: bool) -> None:
    """Hands over to the workers what was before a new hook, or a gap once it delivers again; follows what they say."""
    (feedback,) = await world.directory.feedback(hook.id)
    before = mapping(mapping(resource.status.get("repair")).get("backfill"))
    filling = _noted(feedback)
    since = _begins(resource, found, feedback, before) if delivers else None
    if since is None and _is_new(resource, found, feedback, before):
        since = int((world.clock() - world.history).timestamp()) if world.history else None
    if since is not None:
        if filling and filling.state != "Done":  # both gaps at once
            since = min(since, filling.since)
        now = int(world.clock().timestamp())
        request = Backfill(hook.id, hook.id, hook.gitlab.url, hook.parent.key, since, now)
        filling = Filling.begun(request)
        await world.directory.hand_over(request)
    if filling is None:
        if before:  # what Redis has lost is known from the status alone
            found.repair = {**found.repair, "backfill": before}
        return
    found.repair = {**found.repair, "backfill": _shown(filling)}
    if is_over(resource.status, feedback) and filling.state != "Running":
        found.notes.append(_note(filling))


def is_over(status: Mapping[str, object], feedback: Feedback) -> bool:
    """Whether the workers are done with what is under way by this status."""
    running = mapping(mapping(status.get("repair")).get("backfill")).get("state") == "Running"
    filling = _noted(feedback) if running else None
    return filling is not None and filling.state != "Running"


def _noted(feedback: Feedback) -> Filling | None:
    return msgspec.json.decode(feedback.backfill, type=Filling) if feedback.backfill else None


def _begins(resource: Resource, found: Findings, feedback: Feedback, before: Mapping[str, object]) -> int | None:
    """From when on (Unix seconds) something is missing that nobody has been asked to fetch."""
    assert found.hook is not None
    status, since = resource.status, before.get("from")
    if feedback.off:
        return feedback.off // 1000
    if (
        _is_same(resource, found) and feedback.last and status.get("hookID") not in (None, found.hook.id)
    ):  # somebody had deleted it
        return feedback.last // 1000
    lost = before.get("state") == "Running" and not feedback.backfill
    if isinstance(since, str) and (lost or (before.get("state") == "Failed" and resource.asked)):
        return int(datetime.fromisoformat(since).timestamp())
    return None


def _is_new(resource: Resource, found: Findings, feedback: Feedback, before: Mapping[str, object]) -> bool:
    """Whether nobody has been asked yet for what was before the hook."""
    return not feedback.backfill and not (before and _is_same(resource, found))


def _is_same(resource: Resource, found: Findings) -> bool:
    assert found.parent is not None
    return mapping(resource.status.get("target")).get("id") == found.parent.id


def _shown(filling: Filling) -> dict[str, object]:
    """Counts once it is done, so that the status changes twice and no more."""
    more: Mapping[str, object] = filling.counts if filling.state == "Done" else {}
    window = {"from": _time(filling.since), "to": _time(filling.until), "state": filling.state}
    return {**window, **more, **({"message": filling.error} if filling.error else {})}


def _note(filling: Filling) -> Note:
    window = f"What GitLab did not send between {_time(filling.since)} and {_time(filling.until)}"
    if filling.state == "Failed":
        return Note("Warning", "GapNotFilled", f"{window} could not be fetched: {filling.error}")
    found = ", ".join(f"{name} {count}" for name, count in filling.counts.items() if count)
    return Note("Normal", "GapFilled", f"{window} was fetched: {found or 'nothing was missing'}.")


def _time(seconds: int) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
