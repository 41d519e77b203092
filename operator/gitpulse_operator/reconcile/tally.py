"""What the statuses of all resources add up to, for Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from gitpulse_operator.domain.conditions import READY, RECONCILING, SECRET_CURRENT, STALLED, find
from gitpulse_operator.domain.spec import parse_project
from gitpulse_operator.errors import SpecInvalid
from gitpulse_operator.metrics import RESOURCES, ROTATING, ROTATIONS_STUCK, SECRET_DUE, TOKEN_EXPIRES
from gitpulse_operator.names import CONNECTION, PLURALS, PROJECT
from gitpulse_operator.reconcile.resource import Body, Ref, Resource, mapping

STATES = ("ready", "reconciling", "stalled", "other")


class _Left(NamedTuple):
    """How the last run left a resource."""

    state: str
    rotating: bool
    stuck: bool
    due: float | None


class Tally:
    """Knows of each resource how its last run left it; Prometheus reads the sums, in another thread."""

    def __init__(self) -> None:
        self._known: dict[Ref, _Left] = {}
        SECRET_DUE.set_function(lambda: min((left.due for left in self._all() if left.due), default=0.0))
        ROTATING.set_function(lambda: sum(left.rotating for left in self._all()))
        ROTATIONS_STUCK.set_function(lambda: sum(left.stuck for left in self._all()))
        for kind in PLURALS:
            for state in STATES:
                RESOURCES.labels(kind, state).set_function(partial(self._count, kind, state))

    def note(self, resource: Resource, status: Body) -> None:
        """Takes over what a run has found."""
        ref, conditions = resource.ref, status.get("conditions")
        entries = [mapping(entry) for entry in conditions] if isinstance(conditions, list) else []
        current = find(entries, SECRET_CURRENT)
        self._known[ref] = _Left(
            _state(entries),
            rotating=mapping(status.get("secret")).get("phase", "Stable") != "Stable",
            stuck=current is not None and current.status == "False",
            due=_due(resource, status) if ref.kind == PROJECT else None,
        )
        _show_expiry(ref, status.get("tokenExpiresAt"))

    def forget(self, ref: Ref) -> None:
        """Leaves out a resource that is gone."""
        self._known.pop(ref, None)
        _show_expiry(ref, None)

    def _all(self) -> list[_Left]:
        return list(self._known.values())

    def _count(self, kind: str, state: str) -> int:
        return sum(ref.kind == kind and left.state == state for ref, left in list(self._known.items()))


def _show_expiry(ref: Ref, when: object) -> None:
    name = f"{ref.namespace}/{ref.name}"
    if ref.kind == CONNECTION and isinstance(when, str):
        TOKEN_EXPIRES.labels(name).set(datetime.fromisoformat(when).timestamp())
    elif ref.kind == CONNECTION:
        with contextlib.suppress(KeyError):
            TOKEN_EXPIRES.remove(name)


def _state(conditions: Sequence[Body]) -> str:
    if find(conditions, STALLED):
        return "stalled"
    if find(conditions, RECONCILING):
        return "reconciling"
    ready = find(conditions, READY)
    return "ready" if ready and ready.status == "True" else "other"


def _due(resource: Resource, status: Body) -> float | None:
    """When the project's secret is to be replaced because of its age, if it ever is."""
    rotated_at = mapping(status.get("secret")).get("rotatedAt")
    try:
        spec = parse_project(resource.spec)
    except SpecInvalid:  # `stalled` tells of it
        return None
    interval, left_alone = spec.secret.rotation_interval, spec.suspend or spec.adoption_policy == "Observe"
    if left_alone or spec.secret.ref or not interval or not isinstance(rotated_at, str):
        return None
    return (datetime.fromisoformat(rotated_at) + interval).timestamp()
