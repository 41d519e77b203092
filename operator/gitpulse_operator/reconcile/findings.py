"""What a run over a GitPulseProject knows: from the status of earlier runs, and what it has learnt itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self, get_args

from gitpulse_operator.domain.conditions import Condition
from gitpulse_operator.domain.credentials import Verification
from gitpulse_operator.domain.events import ParentKind
from gitpulse_operator.domain.fleet import Sum
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.plan import Action, Pushed
from gitpulse_operator.domain.rotation import Phase, Standing
from gitpulse_operator.reconcile.resource import Note, Ref, Resource, mapping

ANSWERED = {"resource": "lastHandledRotateAt", "connection": "lastHandledConnectionRotateAt"}
"""Who asks for rotations -> the field of the status with the value that was answered last."""


@dataclass(slots=True)
class Findings:
    """A status is made of this, however far a run came."""

    parent: Parent | None = None
    """Where the hook is. After the target was changed this stays the old one until its hook is gone."""
    instance: str = ""
    pushed: Pushed | None = None
    previous: Verification | None = None
    """How deliveries with the generation before are verified, while that is accepted."""
    rotated_at: str | None = None
    """When GitLab was given that generation."""
    rotations_answered: Mapping[str, str | None] = field(default_factory=dict)
    """Who asks for rotations -> the value that was answered last."""
    phase: Phase = "Stable"
    phase_since: datetime | None = None
    """Of the rotation, at the beginning of the run."""
    standing: Standing | None = None
    """Of the rotation, as far as the run has come."""
    hook: ObservedHook | None = None
    pending: Sequence[Action] = ()
    """What `adoptionPolicy: Observe` kept us from doing."""
    delivering: Condition | None = None
    revived: bool = False
    repair: Mapping[str, object] = field(default_factory=dict)
    """As in the status."""
    revivable: bool = True
    """Whether we may do something about a hook that is off."""
    again: float | None = None
    """Seconds until the next run, where it should be sooner than the resync."""
    group_mode: str = ""
    """How a group is followed: `GroupHook` or `ProjectHooks`."""
    sum: Sum | None = None
    """Of a group that is followed project by project."""
    wake: list[Ref] = field(default_factory=list)
    """What is worth a run because of this one."""
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
        found.group_mode = str(resource.status.get("groupMode") or "")
        if found.group_mode == "ProjectHooks" and hook is None:
            hook = 0  # there is no single one
        if isinstance(hook, int) and isinstance(generation, int):
            found.pushed = Pushed(hook, generation, _verification(secret.get("type")))
        if isinstance(rotated_at := secret.get("rotatedAt"), str):
            found.rotated_at = rotated_at
            if "previousType" in secret:
                found.previous = _verification(secret.get("previousType"))
        found.phase = next((phase for phase in get_args(Phase) if phase == secret.get("phase")), "Stable")
        if isinstance(changed_at := secret.get("phaseChangedAt"), str):
            found.phase_since = datetime.fromisoformat(changed_at)
        for asker, field_name in ANSWERED.items():
            if isinstance(value := resource.status.get(field_name), str):
                found.rotations_answered = {**found.rotations_answered, asker: value}
        found.repair = mapping(resource.status.get("repair"))
        return found

    def come_back(self, seconds: float) -> None:
        """Asks for the next run after so long, if nobody wants it sooner."""
        self.again = seconds if self.again is None else min(self.again, seconds)

    @property
    def single(self) -> bool:
        """Whether GitLab may have one hook for all of it at `parent`, even if nobody lived to note it."""
        return bool(self.pushed.hook_id) if self.pushed else self.group_mode != "ProjectHooks"

    @property
    def rotated(self) -> datetime | None:
        """When GitLab was given the current generation."""
        return datetime.fromisoformat(self.rotated_at) if self.rotated_at else None


def _verification(value: object) -> Verification:
    return "SigningToken" if value == "SigningToken" else "Token"
