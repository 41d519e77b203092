"""Conditions as `kubectl wait`, Flux and Argo CD read them.

`Ready` sums up. `Reconciling` and `Stalled` are there only while they are true. `lastTransitionTime` moves only when
`status` does. See https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Status = Literal["True", "False", "Unknown"]

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
HOOK_INSTALLED = "HookInstalled"
CREDENTIALS_VALID = "CredentialsValid"
DELIVERING = "Delivering"
SECRET_CURRENT = "SecretCurrent"  # noqa: S105

LONGEST_MESSAGE = 4096


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of a resource's state: `reason` for machines, `message` for people."""

    type: str
    status: Status
    reason: str
    message: str
    since: datetime | None = field(default=None, compare=False)
    """Of one that was found in a status: its `lastTransitionTime`."""


TOKEN_ACCEPTED = Condition(CREDENTIALS_VALID, "True", "TokenAccepted", "GitLab accepts the connection's token.")


def find(conditions: Iterable[Mapping[str, object]], kind: str) -> Condition | None:
    """The condition of this type among those of a status."""
    for entry in conditions:
        if entry.get("type") == kind:
            status = entry.get("status")
            known: Status = "True" if status == "True" else "False" if status == "False" else "Unknown"
            time = entry.get("lastTransitionTime")
            since = datetime.fromisoformat(time) if isinstance(time, str) else None
            return Condition(kind, known, str(entry.get("reason")), str(entry.get("message") or ""), since)
    return None


def to_status(
    conditions: Sequence[Condition], *, before: Sequence[Mapping[str, object]], generation: int, now: datetime
) -> list[dict[str, object]]:
    """Conditions as a status holds them, with the transition times of those that have not flipped."""
    since = {entry.get("type"): (entry.get("status"), entry.get("lastTransitionTime")) for entry in before}
    entries: list[dict[str, object]] = []
    for condition in conditions:
        status, time = since.get(condition.type, (None, None))
        entries.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:LONGEST_MESSAGE],
                "lastTransitionTime": time if status == condition.status and time else timestamp(now),
                "observedGeneration": generation,
            }
        )
    return entries


def timestamp(moment: datetime) -> str:
    """RFC 3339 with whole seconds, as Kubernetes writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def failure(*, reason: str, message: str, passing: bool) -> tuple[Condition, Condition]:
    """`Ready` is false, and whether that may pass by itself or waits for a person."""
    ready = Condition(READY, "False", reason, message)
    return ready, Condition(RECONCILING if passing else STALLED, "True", reason, message)
