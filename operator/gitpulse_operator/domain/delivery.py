"""Whether deliveries arrive: said by receivers and by GitLab, never inferred from a hook's being there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitpulse_operator.domain.conditions import DELIVERING, Condition
from gitpulse_operator.domain.hooks import ObservedHook


@dataclass(frozen=True, slots=True)
class Feedback:
    """What receivers have noted about a hook, times in Unix milliseconds."""

    accepted: Mapping[int, int]
    """Secret generation -> its last authentic delivery."""
    refused: int | None
    refused_reason: str


def delivering(hook: ObservedHook, feedback: Feedback) -> Condition:
    """The condition `Delivering`. Its message holds no time, so that it does not change with each delivery."""
    last = max(feedback.accepted.values(), default=0)
    if hook.state != "executable":
        return Condition(DELIVERING, "False", "HookDisabled", "GitLab has switched the hook off and sends nothing.")
    if feedback.refused and feedback.refused > last:
        text = f"Receivers refuse what this hook sends ({feedback.refused_reason or 'no reason noted'})."
        return Condition(DELIVERING, "False", "SecretRefused", text)
    if last:
        return Condition(DELIVERING, "True", "Proven", "Receivers have taken authentic deliveries of this hook.")
    return Condition(DELIVERING, "Unknown", "NoDeliveryYet", "No delivery of this hook has arrived yet.")
