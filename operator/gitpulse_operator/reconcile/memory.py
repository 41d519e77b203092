"""What runs over a hook remember of one another beside the status. Losing it, at a restart, costs a few requests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitpulse_operator.domain.delivery import Logged
from gitpulse_operator.domain.hooks import Parent
from gitpulse_operator.reconcile.resource import Ref

FIRST_LOOK = timedelta(minutes=5)
LAST_LOOK = timedelta(hours=6)
"""How long a doubt lasts before GitLab's log is looked at, and again: doubling from the first to the last."""
FIRST_TRY = timedelta(minutes=1)
LAST_TRY = timedelta(minutes=10)
"""The same between tries to revive a hook."""
AGAIN_WITHIN = timedelta(days=1)
"""Two changes of the same hook by somebody else are no accident if there is no more time between them."""
TRIES = 3
"""To send one delivery again. One fewer than the failures in a row by which GitLab switches a hook off."""


@dataclass(slots=True)
class HookMemory:
    """Of one hook."""

    impossible: frozenset[str] = frozenset()
    """Events that GitLab could not make a test of."""
    off_for_good: bool = False
    """By the last look: GitLab has switched it off and never tries it again."""
    waits_for_receiver: bool = False
    """It would have been revived, but for want of a receiver."""
    to_resend: list[Logged] | None = None
    """What a repair has still to send again, oldest first; None: to be read from GitLab's log."""
    missed: bool = False
    """Deliveries may have failed while nobody looked; GitLab's log has not been asked yet."""
    _stumbled: tuple[int, int] = (0, 0)
    """A row whose resending failed, and how often."""
    _corrected_at: datetime | None = None
    _look_at: datetime | None = None
    _looks: int = 0
    _tries: int = 0

    def may_look(self, now: datetime) -> bool:
        """Whether a doubt has lasted long enough for a look at GitLab's log, which is then taken."""
        if self._look_at is None:
            self._look_at = now + FIRST_LOOK
        if now < self._look_at:
            return False
        self._looks += 1
        self._look_at = now + min(FIRST_LOOK * 2 ** min(self._looks, 16), LAST_LOOK)
        return True

    def sure(self) -> None:
        """There is no doubt about it, and it is on."""
        self.impossible = frozenset()
        self._look_at, self._looks, self._tries = None, 0, 0

    def tried(self) -> float:
        """One more try to revive it was in vain. Returns the seconds until the next."""
        self._tries += 1
        wait: timedelta = min(FIRST_TRY * 2 ** min(self._tries - 1, 16), LAST_TRY)
        return wait.total_seconds()

    def corrected(self, now: datetime) -> bool:
        """What somebody else had changed of it was put right. Returns whether that was so not long ago, too."""
        before, self._corrected_at = self._corrected_at, now
        return before is not None and now - before < AGAIN_WITHIN

    def stumbled(self, row: int) -> float:
        """Sending this row again was in vain. Returns the seconds until the next try; 0: enough of it."""
        times = self._stumbled[1] + 1 if self._stumbled[0] == row else 1
        self._stumbled = row, times
        return 0.0 if times >= TRIES else FIRST_TRY.total_seconds() * times


@dataclass(slots=True)
class GroupMemory:
    """Of a group that is followed project by project."""

    packed: bytes | None = None
    """Its members as they were written down last; None: not read yet."""
    secret: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """What its Kubernetes Secret holds, for all members."""
    listed_for: tuple[object, ...] = ()
    """To which wishes the last listing of its projects was the answer, when that was, of which group, and where."""
    listed_at: datetime | None = None
    listed_of: Parent | None = None
    listed_in: str = ""


class Memory:
    """Of all hooks, by the id in their URL, and of groups."""

    def __init__(self) -> None:
        self.away = False
        """Whether receivers may have been away until just now, as where they end with the operator."""
        self._hooks: dict[str, HookMemory] = {}
        self._groups: dict[Ref, GroupMemory] = {}

    def group(self, ref: Ref) -> GroupMemory:
        return self._groups.setdefault(ref, GroupMemory())

    def forget_group(self, ref: Ref) -> None:
        """There is no such resource any more."""
        self._groups.pop(ref, None)

    def of(self, hook_id: str) -> HookMemory:
        return self._hooks.setdefault(hook_id, HookMemory(missed=self.away))

    def keep(self, hook_ids: Collection[str]) -> None:
        """Forgets all others."""
        self._hooks = {hook_id: memory for hook_id, memory in self._hooks.items() if hook_id in hook_ids}
