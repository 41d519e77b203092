"""Desired hook against observed hooks: the actions that make the second the first.

Secrets are spoken of here, never held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitpulse_operator.domain.credentials import Verification
from gitpulse_operator.domain.hooks import DesiredHook, ObservedHook, drift, is_ours


@dataclass(frozen=True, slots=True)
class Pushed:
    """What GitLab was given last: to which hook, which generation, and how it is verified by it."""

    hook_id: int
    """0: to one hook in each project of a group."""
    generation: int
    verification: Verification


@dataclass(frozen=True, slots=True)
class Create:
    """Make the hook, with its secrets."""

    attributes: Mapping[str, str | bool]

    def __str__(self) -> str:
        return "create the hook"


@dataclass(frozen=True, slots=True)
class Update:
    """Put attributes right, or hand over secrets, or both."""

    hook_id: int
    attributes: Mapping[str, str | bool]
    secrets: bool

    def __str__(self) -> str:
        parts = [*self.attributes, *(["the secret"] if self.secrets else [])]
        return f"set {', '.join(parts)} of hook {self.hook_id}"


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a hook of ours that is one too many."""

    hook_id: int

    def __str__(self) -> str:
        return f"delete hook {self.hook_id}"


Action = Create | Update | Delete


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order; `keep` is the observed hook that stays, if there is one."""

    actions: tuple[Action, ...]
    keep: ObservedHook | None
    drifted: bool = False
    """Whether the hook that we made is not as we left it, if the spec is still the same."""


def make_plan(
    desired: DesiredHook,
    observed: Sequence[ObservedHook],
    *,
    generation: int,
    verification: Verification,
    pushed: Pushed | None,
    leave_token: bool = False,
) -> Plan:
    """What must be done so that exactly one of the observed hooks is ours, and is as desired.

    A secret cannot be read back. It is sent again when the hook may not have it: another hook than the one it went to,
    another generation or kind, GitLab says that it is not there, or the URL changes, by which GitLab forgets it.
    `leave_token`: a plain token beside the signing token is left there, while the first gives way to the second.
    """
    ours = _ours(desired, observed, pushed)
    made = pushed is not None and pushed.hook_id != 0
    if not ours:
        return Plan((Create(desired.attributes),), None, drifted=made)
    keep, *spare = ours
    changes = drift(desired, keep)
    signs = verification == "SigningToken"
    secrets = (
        "url" in changes
        or pushed != Pushed(keep.id, generation, verification)
        or keep.present("signing_token" if signs else "token") is False
        or (keep.present("token" if signs else "signing_token") is True and not leave_token)
    )
    update = (Update(keep.id, changes, secrets),) if changes or secrets else ()
    owed = pushed is None or (pushed.generation, pushed.verification) != (generation, verification)
    drifted = made and bool(changes or spare or (secrets and not owed))
    return Plan((*update, *(Delete(hook.id) for hook in spare)), keep, drifted)


def kept(desired: DesiredHook, observed: Sequence[ObservedHook], pushed: Pushed | None) -> ObservedHook | None:
    """The one of the observed hooks that a plan would keep."""
    return next(iter(_ours(desired, observed, pushed)), None)


def _ours(desired: DesiredHook, observed: Sequence[ObservedHook], pushed: Pushed | None) -> list[ObservedHook]:
    """Ours, the best first: the one with the right URL, then the one that was given a secret, then the oldest."""
    return sorted(
        (hook for hook in observed if is_ours(desired, hook)),
        key=lambda hook: (
            hook.attributes.get("url") != desired.url,
            pushed is None or hook.id != pushed.hook_id,
            hook.id,
        ),
    )


def ours_among(desired: DesiredHook, observed: Sequence[ObservedHook]) -> tuple[Delete, ...]:
    """The plan for a resource that goes: every hook of ours goes with it."""
    return tuple(Delete(hook.id) for hook in observed if is_ours(desired, hook))
