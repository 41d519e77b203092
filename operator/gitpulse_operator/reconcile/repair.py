"""Has GitLab send again what failed while a hook did not deliver, a few in each run. See docs/decisions/0007."""

from __future__ import annotations

from gitpulse_operator.domain.conditions import DELIVERING, find
from gitpulse_operator.domain.repair import FAILED_ONES, MOST, RESENDS_SINCE, Repair
from gitpulse_operator.domain.revival import Attempt
from gitpulse_operator.domain.versions import parse_version
from gitpulse_operator.errors import RateLimited
from gitpulse_operator.metrics import REPAIRED
from gitpulse_operator.reconcile.backfill import fill
from gitpulse_operator.reconcile.deliveries import ITS_TURN, Hook
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Note, Resource

IMPOSSIBLE = Attempt("impossible")


async def repair(resource: Resource, hook: Hook, found: Findings, world: World) -> None:
    """Once deliveries arrive again: what failed is sent again. What was never sent is fetched."""
    assert found.delivering is not None
    delivers = found.delivering.status == "True"
    if delivers:
        await _send_again(resource, hook, found, world)
    await fill(resource, hook, found, world, delivers=delivers)


async def _send_again(resource: Resource, hook: Hook, found: Findings, world: World) -> None:
    """Begins a repair, or goes on with one that is under way."""
    assert found.hook is not None
    before = find(resource.conditions, DELIVERING)
    state = Repair.from_status(found.repair)
    memory = world.memory.of(hook.id)
    begins = found.revived or (before is not None and before.status == "False") or memory.missed
    if not (begins or state.running) or parse_version(await hook.gitlab.version()) < RESENDS_SINCE:
        return
    if begins or memory.to_resend is None:
        log = await hook.gitlab.deliveries(hook.parent, found.hook.id, status=FAILED_ONES, limit=MOST)
        state = (state.next(log) or state.closed()) if begins else state
        memory.to_resend, memory.missed = state.rest(log), False
    await _resend(hook, found, world, state)


async def _resend(hook: Hook, found: Findings, world: World, state: Repair) -> None:
    assert found.hook is not None
    memory = world.memory.of(hook.id)
    assert memory.to_resend is not None
    was_running = state.running
    while memory.to_resend:
        row = memory.to_resend[0]
        try:
            possible = row.whole and row.url == found.hook.attributes.get("url")
            attempt = await hook.gitlab.resend(hook.parent, found.hook.id, row.id) if possible else IMPOSSIBLE
        except RateLimited as error:
            found.come_back(error.retry_after or ITS_TURN)
            break
        if attempt.result == "failed" and (wait := memory.stumbled(row.id)):
            found.come_back(wait)
            break
        delivered = attempt.result == "delivered"
        REPAIRED.labels("resent" if delivered else "lost").inc()
        state = state.past(row, resent=delivered)
        memory.to_resend.pop(0)
    else:
        state, memory.to_resend = state.closed(), None
    found.repair = state.to_status() if state.last else {}
    if was_running and not state.running:
        found.notes.append(Note("Warning" if state.lost else "Normal", "GapRepaired", str(state)))
