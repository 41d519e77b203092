"""What a run over a GitPulseProject knows: from the status of earlier runs, and what it has learnt itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from gitpulse_operator.domain.credentials import Verification
from gitpulse_operator.domain.delivery import Feedback
from gitpulse_operator.domain.events import ParentKind
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.plan import Action, Pushed
from gitpulse_operator.reconcile.resource import Note, Resource, mapping


@dataclass(slots=True)
class Findings:
    """A status is made of this, however far a run came."""

    parent: Parent | None = None
    """Where the hook is. After the target was changed this stays the old one until its hook is gone."""
    instance: str = ""
    pushed: Pushed | None = None
    rotated_at: str | None = None
    hook: ObservedHook | None = None
    pending: Sequence[Action] = ()
    """What `adoptionPolicy: Observe` kept us from doing."""
    feedback: Feedback | None = None
    credentials_valid: bool = False
    notes: list[Note] = field(default_factory=list)

    @classmethod
    def remembered(cls, resource: Resource) -> Self:
        """What the status says of earlier runs."""
        found = cls()
        target, secret = mapping(resource.status.get("target")), mapping(resource.status.get("secret"))
        if isinstance(number := target.get("id"), int):
            kind: ParentKind = "Group" if target.get("kind") == "Group" else "Project"
            found.parent = Parent(kind, number, str(target.get("path")))
            found.instance = str(target.get("instance"))
        hook, generation = resource.status.get("hookID"), secret.get("generation")
        if isinstance(hook, int) and isinstance(generation, int):
            found.pushed = Pushed(hook, generation, _verification(secret.get("type")))
        if isinstance(rotated_at := secret.get("rotatedAt"), str):
            found.rotated_at = rotated_at
        return found


def _verification(value: object) -> Verification:
    return "SigningToken" if value == "SigningToken" else "Token"
