"""What people are told of a hook, beside the status and made of it: for the dashboard, which knows no Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gitpulse_operator.domain.conditions import DELIVERING, HOOK_INSTALLED, READY, find
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.hook import url_id
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Resource, mapping
from gitpulse_service.contract import HookReport

STATES = {
    "Proven": "delivering",
    "Silent": "quiet",
    "NoDeliveryYet": "new",
    "SecretRefused": "refused",
    "ReceiverUnreachable": "unreachable",
    "HookDisabled": "disabled",
}
"""Reason of `Delivering` -> state of the hook."""


def hook_state(conditions: Sequence[Mapping[str, object]]) -> str:
    """One word for how a hook is: one of `STATES`, or suspended, failing, unknown."""
    ready, installed, delivering = (find(conditions, kind) for kind in (READY, HOOK_INSTALLED, DELIVERING))
    if ready and ready.reason == "Suspended":
        return "suspended"
    if delivering and installed and installed.status == "True":
        state = STATES.get(delivering.reason, "unknown")
        known = ready is None or ready.status != "False" or ready.reason == delivering.reason
        return state if known else "failing"
    return "failing" if ready and ready.status == "False" else "unknown"


def hook_report(resource: Resource, world: World) -> HookReport:
    """The report of a resource by its status; of a group, or of one of its projects."""
    status, found = resource.status, Findings.remembered(resource)
    ready, delivering = find(resource.conditions, READY), find(resource.conditions, DELIVERING)
    said = delivering if ready and delivering and ready.status == "True" else ready
    hook = status.get("hookID")
    return HookReport(
        resource=f"{resource.ref.namespace}/{resource.ref.name}",
        state=hook_state(resource.conditions),
        reason=said.reason if said else "",
        message=said.message if said else "",
        instance=found.instance if found.parent else "",
        kind=found.parent.kind if found.parent else "",
        path=found.parent.path if found.parent else "",
        hook_id=url_id(resource, found.parent, world) if found.parent and hook else "",
        number=hook if isinstance(hook, int) else 0,
        **{name: _plain(mapping(status.get(name))) for name in ("secret", "revivals", "repair")},
    )


def _plain(value: Mapping[str, object]) -> dict[str, Any]:
    """In an order of its own, so that the same is written as the same."""
    return {key: _plain(it) if isinstance(it, Mapping) else it for key, it in sorted(value.items())}
