"""Whether deliveries arrive: said by receivers, GitLab and its log of a hook, never inferred from a hook's being there.

How much GitLab can tell depends on its version: where nobody can know, the verdict says so. See docs/decisions/0006.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitpulse_operator.domain.conditions import DELIVERING, Condition, Status
from gitpulse_operator.domain.hooks import ObservedHook

DOUBT_AFTER = timedelta(hours=1)
"""Without a delivery for so long, GitLab's log is worth a look now and then."""
SILENT_AFTER = timedelta(hours=72)
"""Without a delivery for so long a hook is called silent; longer than a weekend."""
LOGS_SINCE = (17, 3)
"""The version from which GitLab shows its log of a hook."""
UNAUTHORIZED = 401
"""What a receiver answers to a delivery that is not authentic."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What receivers have noted about a hook, times in Unix milliseconds."""

    accepted: Mapping[int, int]
    """Secret generation -> its last authentic delivery."""
    refused: int | None
    refused_reason: str
    off: int | None = None
    """The last authentic delivery before GitLab began to drop what happened; None: it drops nothing that we know of."""
    backfill: str = ""
    """What workers say of the newest one, in their words."""
    changed: int | None = None
    """The last delivery about members, subgroups or projects of the group."""

    @property
    def last(self) -> int:
        """The last authentic delivery of all; 0: there was none."""
        return max(self.accepted.values(), default=0)

    @property
    def refusing(self) -> bool:
        """Whether the last thing that receivers saw of the hook was not authentic."""
        return (self.refused or 0) > self.last

    def silence(self, now: datetime) -> timedelta:
        """How long ago the last authentic delivery was; without end if there was none."""
        return now - datetime.fromtimestamp(self.last / 1000, now.tzinfo) if self.last else timedelta.max


@dataclass(frozen=True, slots=True)
class Logged:
    """A delivery as GitLab's log has it."""

    id: int
    """Grows from one attempt to the next, resent ones among them."""
    status: int | None
    """What was answered; None: nothing was."""
    url: str = ""
    """Where it was sent to; GitLab sends nothing again once the hook's has changed."""
    whole: bool = True
    """False: it was too large for the log, which has nothing that could be sent again."""
    at: datetime | None = None
    """When it was sent, as GitLab says from 19.0 on."""

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 400


@dataclass(frozen=True, slots=True)
class Log:
    """GitLab's log of a hook, newest first; of the last seven days."""

    rows: tuple[Logged, ...] = ()
    readable: bool = True
    """False: this GitLab shows none."""


def is_doubtful(hook: ObservedHook, feedback: Feedback, before: Condition | None, now: datetime) -> bool:
    """Whether receivers and `alert_status` leave open what GitLab's log could tell."""
    if hook.state != "executable" or feedback.refusing:
        return False
    unreachable = before is not None and before.reason == "ReceiverUnreachable"
    return unreachable or feedback.silence(now) > DOUBT_AFTER


def delivering(
    hook: ObservedHook, feedback: Feedback, log: Log | None, before: Condition | None, now: datetime
) -> Condition:
    """The condition `Delivering`. `log` is None where nobody has looked; then what it said before holds.

    No message holds the time of a delivery, so that none changes with each delivery.
    """
    if hook.state != "executable":
        return _said("False", "HookDisabled", f"GitLab has switched the hook off {_until(hook)} and sends nothing.")
    if feedback.refusing:
        return _refused(feedback.refused_reason or "no reason noted")
    doubtful = is_doubtful(hook, feedback, before, now)
    if log and doubtful and log.rows and log.rows[0].failed:
        status = log.rows[0].status
        if status == UNAUTHORIZED:
            return _refused("they answer 401")
        how = "got no answer" if status is None else f"was answered with {status}"
        text = (
            f"GitLab's log says that the hook's last delivery {how}, and no receiver has seen it. "
            f"See that GitLab reaches {hook.attributes.get('url')}, and that receivers are up there."
        )
        return _said("False", "ReceiverUnreachable", text)
    return _quiet(feedback, log, before, now) if doubtful else _proven()


def is_news(before: Condition | None, feedback: Feedback, seen: Feedback | None, now: datetime) -> bool:
    """Whether a run over the hook would say something else than `before`, by what receivers have noted since `seen`."""
    if seen is not None and feedback.changed != seen.changed:
        return True
    match before.reason if before else None:
        case "NoDeliveryYet":
            return feedback.last > 0 or feedback.refusing
        case "Proven":
            return feedback.refusing
        case "Silent":
            return feedback.refusing or feedback.silence(now) < SILENT_AFTER
        case "SecretRefused":
            return feedback.last > 0 and not feedback.refusing
        case "HookDisabled" | "ReceiverUnreachable":
            return seen is not None and feedback.last > seen.last
    return False


def _quiet(feedback: Feedback, log: Log | None, before: Condition | None, now: datetime) -> Condition:
    """Nothing arrives, and nothing is known to fail."""
    if feedback.last and (feedback.silence(now) < SILENT_AFTER or log is None):
        return before if log is None and before and before.reason == "Silent" else _proven()
    if log is None and before and before.reason == "NoDeliveryYet":
        return before
    reason = "Silent" if feedback.last else "NoDeliveryYet"
    text = "No delivery has come for days." if feedback.last else "No delivery of this hook has arrived yet."
    if log and not log.readable:
        text += " Whether there was something to send cannot be told: GitLab shows its log of a hook from 17.3 on."
        return _said("Unknown", reason, text)
    if log and log.rows and not feedback.last:
        text += " GitLab's log has some that were answered: does the hook's URL lead to receivers of GitPulse?"
    elif log:
        text += " GitLab's log shows none that failed."
    return _said("True" if feedback.last else "Unknown", reason, text)


def _until(hook: ObservedHook) -> str:
    until = hook.attributes.get("disabled_until")
    until = re.sub(r"\.\d+", "", str(until or ""))  # to the second is enough
    return f"until {until}" if hook.state == "temporarily_disabled" and until else "for good"


def _proven() -> Condition:
    return _said("True", "Proven", "Receivers have taken authentic deliveries of this hook.")


def _refused(why: str) -> Condition:
    return _said("False", "SecretRefused", f"Receivers refuse what this hook sends ({why}).")


def _said(status: Status, reason: str, message: str) -> Condition:
    return Condition(DELIVERING, status, reason, message)
