"""A group that is followed by a hook in each of its projects: what their statuses add up to, and how they are kept.

Each of these projects is looked after like a GitPulseProject of its own. Their statuses do not go into Kubernetes one
by one: the group's status has their sum, and a ConfigMap has, packed, what must outlive the operator.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitpulse_operator.domain.conditions import (
    DELIVERING,
    HOOK_INSTALLED,
    READY,
    RECONCILING,
    TOKEN_ACCEPTED,
    Condition,
    failure,
    find,
)

Status = Mapping[str, Any]

MOST_SHOWN = 20
"""Failing projects that a group's status names."""
LONGEST_SHOWN = 1024
KEPT = ("target", "hookID", "hooks", "secret", "repair")
KEPT_OF_CONDITION = ("type", "status", "reason", "lastTransitionTime")


def pack(members: Mapping[int, tuple[Status, str | None]]) -> bytes:
    """Project id -> its status, and since when it is on its way out, if it is. About 60 bytes a project."""
    rows = {str(project): {**_kept(status), "leaving": leaving} for project, (status, leaving) in members.items()}
    return zlib.compress(json.dumps(rows, sort_keys=True, separators=(",", ":")).encode(), 6)


def unpack(packed: bytes) -> dict[int, tuple[Status, str | None]]:
    """What was packed; nothing if it is damaged, as the hooks are found again by their URLs."""
    try:
        rows = json.loads(zlib.decompress(packed))
        return {int(project): (row, row.pop("leaving", None)) for project, row in rows.items()}
    except (zlib.error, ValueError, AttributeError):
        return {}


def _kept(status: Status) -> Status:
    conditions = [
        {name: entry[name] for name in (*KEPT_OF_CONDITION, *(["message"] if entry["status"] == "False" else []))}
        for entry in status.get("conditions", ())
    ]
    return {name: status[name] for name in KEPT if name in status} | {"conditions": conditions}


@dataclass(frozen=True, slots=True)
class Given:
    """Which secret the hooks of the projects have."""

    generation: int
    verification: str
    """The weakest among them; empty: there is none yet."""
    proven: bool
    """Whether each has delivered with it."""


def given(statuses: Collection[Status], held: Sequence[int]) -> Given:
    """What GitLab was given for all projects; `held`: the generations that there are, newest first.

    A hook that GitLab has switched off sends nothing, and is given the newest secret before it is switched on: neither
    it nor one that is not there is waited for.
    """
    awake = [status["secret"] for status in statuses if "secret" in status and _is_awake(status)]
    have_it = all(secret["generation"] == held[0] for secret in awake)
    return Given(
        held[0] if have_it or len(held) == 1 else held[1],
        "Token" if any(s["type"] == "Token" for s in awake) else "SigningToken" if awake else "",
        have_it and all(secret.get("phase") in ("Proven", "Stable") for secret in awake),
    )


def _is_awake(status: Status) -> bool:
    installed, delivering = _of(status, HOOK_INSTALLED), _of(status, DELIVERING)
    off = delivering is not None and delivering.reason == "HookDisabled"
    return installed is not None and installed.status == "True" and not off


@dataclass(frozen=True, slots=True)
class Sum:
    """All projects of a group."""

    total: int
    pending: int
    """Those without a run so far."""
    counts: Mapping[str, int]
    """As `status.hooks` has them."""
    failing: Sequence[Mapping[str, object]]
    """As `status.failingProjects` has them, all of them."""
    conditions: Sequence[Condition]

    @property
    def complete(self) -> bool:
        """Whether each project has its hook."""
        return self.counts["installed"] == self.total


def add_up(statuses: Mapping[int, Status]) -> Sum:
    """The sum of the projects' statuses, by their ids."""
    states = ("desired", "installed", "delivering", "disabled", "failing")
    counts = {state: sum(status.get("hooks", {}).get(state, 0) for status in statuses.values()) for state in states}
    counts["desired"] = len(statuses)
    ready = {project: _of(status, READY) for project, status in statuses.items()}
    by_path = sorted(statuses, key=lambda project: str(statuses[project]["target"]["path"]))
    failing = [
        {
            "id": project,
            "path": statuses[project]["target"]["path"],
            "reason": found.reason,
            "message": found.message[:LONGEST_SHOWN],
        }
        for project in by_path
        if (found := ready[project]) is not None and found.status == "False"
    ]
    pending = sum(found is None for found in ready.values())
    passing = any(_of(statuses[int(str(row["id"]))], RECONCILING) for row in failing)
    arrives = [found for status in statuses.values() if (found := _of(status, DELIVERING))]
    conditions = [
        *_ready(len(statuses), pending, counts["installed"], failing, passing=passing),
        TOKEN_ACCEPTED,
        _delivering(arrives),
    ]
    return Sum(len(statuses), pending, counts, failing, conditions)


def _ready(
    total: int, pending: int, installed: int, failing: Sequence[Mapping[str, object]], *, passing: bool
) -> list[Condition]:
    there = Condition(HOOK_INSTALLED, "True", "Installed", "Each project of the group has its hook.")
    if installed < total:
        text = "Not each project of the group has its hook; `hooks` counts them."
        there = Condition(HOOK_INSTALLED, "False", "Incomplete", text)
    if failing:
        reason, _ = Counter(str(row["reason"]) for row in failing).most_common(1)[0]
        example = next(row for row in failing if row["reason"] == reason)
        text = (
            f"{len(failing)} of {total} projects are not as they should be, as {example['path']}: {example['message']}"
        )
        return [*failure(reason=reason, message=text, passing=passing or pending > 0), there]
    if pending:
        return [*failure(reason="Installing", message="Hooks are being made, project by project.", passing=True), there]
    return [Condition(READY, "True", "Installed", there.message), there]


def _delivering(arrives: Collection[Condition]) -> Condition:
    """False if it is for one; the message changes only with the reason, not with each project that is proven."""
    failing = [found for found in arrives if found.status == "False"]
    if failing:
        reason, count = Counter(found.reason for found in failing).most_common(1)[0]
        example = next(found for found in failing if found.reason == reason)
        return Condition(DELIVERING, "False", reason, f"Of {count} of the hooks: {example.message}")
    if any(found.status == "True" for found in arrives):
        text = "Receivers take deliveries of the group's projects; `hooks.delivering` counts the hooks."
        return Condition(DELIVERING, "True", "Proven", text)
    return Condition(DELIVERING, "Unknown", "NoDeliveryYet", "No delivery of any of the hooks has arrived yet.")


def _of(status: Status, kind: str) -> Condition | None:
    return find(status.get("conditions", ()), kind)
