"""What a person asks the operator for: an annotation is set, and what the operator does about it is followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from gitpulse_cli.errors import CommandError, WrongInput
from gitpulse_cli.output import console
from gitpulse_cli.places import View, connection_of, name
from gitpulse_operator.domain.conditions import DELIVERING, SECRET_CURRENT, find
from gitpulse_operator.names import CONNECTION, PROJECT, RECONCILE_REQUESTED, ROTATE_REQUESTED
from gitpulse_operator.reconcile.resource import Resource, mapping

LOOK_EVERY = 0.5
"""Seconds."""
UNANSWERED = "the operator has not answered yet; is it running?"

Look = Callable[[Resource], tuple[bool, str]]
"""Whether a resource is where it was to go, and how far it is, in words."""


async def rotate(view: View, names: Sequence[str], *, connection: str, everything: bool) -> tuple[list[Resource], Look]:
    """Asks for new secrets. Returns whose, and how they are followed. Raises WrongInput."""
    if bool(names) + bool(connection) + everything != 1:
        raise WrongInput("name GitPulseProjects, or a GitLabConnection with --connection, or say --all")
    value = _now()
    if names:
        chosen = [await view.find(PROJECT, each) for each in names]
        for project in chosen:
            if why := _why_not(project):
                raise WrongInput(f"{project.ref} cannot be rotated so: {why}")
        asked, field = chosen, "lastHandledRotateAt"
    else:
        asked = [await view.find(CONNECTION, connection)] if connection else await view.all(CONNECTION)
        asking = {(it.ref.namespace, it.ref.name) for it in asked}
        theirs = [it for it in await view.all(PROJECT) if (it.ref.namespace, connection_of(it)) in asking]
        for project in theirs:
            if why := _why_not(project):
                console.print(f"{name(project)} is left out: {why}")
        chosen, field = [it for it in theirs if not _why_not(it)], "lastHandledConnectionRotateAt"
    for resource in asked:
        await view.cluster().annotate(resource.ref, {ROTATE_REQUESTED: value})
    return chosen, partial(rotated, field, value)


async def revive(view: View, names: Sequence[str]) -> tuple[list[Resource], Look]:
    """Asks for a run over each. Returns whose, and how they are followed. Raises WrongInput."""
    value = _now()
    chosen = [await view.find(PROJECT, each) for each in names]
    for project in chosen:
        if project.spec.get("suspend"):
            raise WrongInput(f"{project.ref} is suspended: set `suspend: false` first")
        await view.cluster().annotate(project.ref, {RECONCILE_REQUESTED: value})
    return chosen, partial(revived, value)


async def follow(view: View, resources: Sequence[Resource], look: Look, *, seconds: float) -> None:
    """Waits until all are where they were to go, and says of each when it is. Raises CommandError when time is up."""
    end = time.monotonic() + seconds
    waiting = {name(it): (it, "") for it in resources}
    with console.status("") as line:
        while True:
            for key, (resource, before) in list(waiting.items()):
                done, text = look(await view.again(resource))
                if text not in (before, UNANSWERED):
                    console.print(f"{key}: {text}")
                waiting[key] = resource, text
                if done:
                    del waiting[key]
            if not waiting:
                return
            if time.monotonic() > end:
                far = "; ".join(f"{key}: {text}" for key, (_, text) in list(waiting.items())[:5])
                raise CommandError(f"{len(waiting)} of {len(resources)} not done after {seconds:.0f} s: {far}")
            line.update(f"{len(resources) - len(waiting)} of {len(resources)} done")
            await asyncio.sleep(LOOK_EVERY)


def rotated(field: str, value: str, project: Resource) -> tuple[bool, str]:
    """Whether the new secret that was asked for by this value is proven. Raises CommandError where it never may be."""
    secret, current = mapping(project.status.get("secret")), find(project.conditions, SECRET_CURRENT)
    generation, phase = secret.get("generation"), secret.get("phase")
    if current and current.status == "False":
        raise CommandError(f"{name(project)}: {current.message}")
    if project.status.get(field) == value:
        if phase in ("Proven", "Stable"):
            both = "; the old one is accepted until the overlap is over" if phase == "Proven" else ""
            return True, f"generation {generation} is in use ({phase}){both}"
        return False, f"generation {generation}: {phase}"
    return False, current.message if current and current.reason in ("RotationHeld", "Rotating") else UNANSWERED


def revived(value: str, project: Resource) -> tuple[bool, str]:
    """Whether a run that was asked for by this value has left its hook on."""
    if project.status.get("lastHandledReconcileAt") != value:
        return False, UNANSWERED
    delivering = find(project.conditions, DELIVERING)
    if delivering and delivering.reason == "HookDisabled":
        return False, delivering.message
    return True, delivering.message if delivering else "its hook is not switched off"


def _why_not(project: Resource) -> str:
    """Why its secret is not rotated by an annotation; empty: it is."""
    if mapping(project.spec.get("secret")).get("secretRef"):
        return "its secret is brought, `secret.secretRef`; change that Secret, and it is taken over"
    if project.spec.get("suspend"):
        return "it is suspended, `suspend: true`"
    return "`adoptionPolicy: Observe` wants nothing changed" if project.spec.get("adoptionPolicy") == "Observe" else ""


def _now() -> str:
    return datetime.now(UTC).isoformat()
