"""Proves that a hook delivers, and switches it on again where GitLab has switched it off. See docs/decisions/0006."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from gitpulse_operator.domain.conditions import DELIVERING, find
from gitpulse_operator.domain.delivery import LOGS_SINCE, Feedback, Log, delivering, is_doubtful
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.repair import RESENDS_SINCE
from gitpulse_operator.domain.revival import anyone_alive, lasted, triggers
from gitpulse_operator.domain.versions import parse_version
from gitpulse_operator.errors import RateLimited
from gitpulse_operator.metrics import REVIVALS
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import GitLab, World
from gitpulse_operator.reconcile.resource import Note, Resource

ITS_TURN = 60.0
"""Seconds to wait for a turn where GitLab does not say how many."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook of ours, and what may be done with it."""

    id: str
    """In its URL."""
    parent: Parent
    gitlab: GitLab
    revivable: bool
    """False: whoever wrote the resource wants nothing changed."""
    recreate: Callable[[], Awaitable[ObservedHook]]
    """Makes it anew in place of the one that is there."""


async def prove(resource: Resource, hook: Hook, found: Findings, world: World) -> None:
    """Finds what there is to be known of the hook's deliveries, and revives it if it is off."""
    assert found.hook is not None
    before = find(resource.conditions, DELIVERING)
    found.revivable = hook.revivable
    advice = ""
    (feedback,) = await world.directory.feedback(hook.id)
    if found.hook.state != "executable":
        await world.directory.note_off(hook.id, feedback.last)  # before a test delivery becomes the last one
        advice = await _revive(resource, hook, found, world)
        (feedback,) = await world.directory.feedback(hook.id)
    world.memory.of(hook.id).off_for_good = found.hook.state == "disabled"
    log = await _look(resource, hook, found.hook, feedback, world)
    found.delivering = delivering(found.hook, feedback, log, before, world.clock())
    if found.delivering.status == "False" and parse_version(await hook.gitlab.version()) < RESENDS_SINCE:
        await world.directory.note_off(hook.id, feedback.last)  # what fails is as good as dropped
    if advice:
        found.delivering = replace(found.delivering, message=f"{found.delivering.message} {advice}")


async def _look(resource: Resource, hook: Hook, shown: ObservedHook, feedback: Feedback, world: World) -> Log | None:
    """GitLab's log, where only that can tell: at once if there is trouble or somebody asks for a run, else rarely."""
    before, memory = find(resource.conditions, DELIVERING), world.memory.of(hook.id)
    if not is_doubtful(shown, feedback, before, world.clock()):
        if shown.state == "executable":
            memory.sure()
        return None
    in_trouble = before is not None and before.status == "False"
    if not (in_trouble or resource.asked or memory.may_look(world.clock())):
        return None
    if parse_version(await hook.gitlab.version()) < LOGS_SINCE:
        return Log(readable=False)
    return await hook.gitlab.deliveries(hook.parent, shown.id)


async def _revive(resource: Resource, hook: Hook, found: Findings, world: World) -> str:
    """Has GitLab send a test, which switches the hook on if it is taken. Returns what is to be said if it stays off."""
    assert found.hook is not None
    if not hook.revivable:
        return '`adoptionPolicy` is "Observe", so it is left as it is.'
    memory = world.memory.of(hook.id)
    seen = [moment for _, moment in (await world.directory.acknowledgements()).values()]
    memory.waits_for_receiver = not anyone_alive(seen, world.clock())
    if memory.waits_for_receiver:
        return "It is revived once a receiver is up."
    for trigger in triggers(found.hook.attributes, impossible=memory.impossible):
        try:
            attempt = await hook.gitlab.test_hook(hook.parent, found.hook.id, trigger)
        except RateLimited as error:
            found.come_back(error.retry_after or ITS_TURN)
            return "It is revived when its turn comes: GitLab makes five tests a minute of one project or group."
        if attempt.result == "delivered":
            _revived(resource, found, f"a test delivery ({trigger}) was taken", world.clock())
            REVIVALS.labels("revived").inc()
            return ""
        if attempt.result == "failed":
            REVIVALS.labels("failed").inc()
            found.come_back(memory.tried())
            return f"A test delivery to revive it failed: {attempt.said}"
        memory.impossible |= {trigger}
    if found.hook.state != "disabled":
        return "It can make no test of any event that the hook is for, and tries again by itself."
    off = found.hook.id
    found.hook = await hook.recreate()
    _revived(resource, found, f"made anew in place of hook {off}, of which GitLab can make no test", world.clock())
    REVIVALS.labels("recreated").inc()
    return ""


def _revived(resource: Resource, found: Findings, how: str, now: datetime) -> None:
    assert found.hook is not None
    before = find(resource.conditions, DELIVERING)
    off, found.revived = found.hook, True
    found.hook = replace(off, attributes={**off.attributes, "alert_status": "executable", "disabled_until": None})
    if before is None or before.reason != "HookDisabled":  # found and revived within one run: tell of both
        found.notes.append(Note("Warning", "HookDisabled", "GitLab had switched the hook off after failed deliveries."))
    since = before.since if before and before.status == "False" else None
    duration = f" after {lasted(since, now)}" if since else ""
    found.notes.append(Note("Normal", "HookRevived", f"Hook {found.hook.id} is on again{duration}: {how}."))
