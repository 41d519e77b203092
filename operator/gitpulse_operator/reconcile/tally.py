"""What the statuses of all resources add up to, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from gitpulse_operator.domain.conditions import READY, RECONCILING, SECRET_CURRENT, STALLED, find
from gitpulse_operator.domain.spec import parse_project
from gitpulse_operator.errors import SpecInvalid
from gitpulse_operator.metrics import RESOURCES, ROTATING, ROTATIONS_STUCK, SECRET_DUE, TOKEN_EXPIRES
from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.resource import Body, Ref, Resource, mapping

STATES = ("ready", "reconciling", "stalled", "other")


class Tally:
    """Knows of each resource how its last run left it."""

    def __init__(self) -> None:
        self._states: dict[Ref, str] = {}
        self._numbers: Counter[tuple[str, str | None]] = Counter()
        self._under_way: set[Ref] = set()
        self._stuck: set[Ref] = set()
        self._due: dict[Ref, float] = {}
        self._expire: set[Ref] = set()
        SECRET_DUE.set_function(self._next_due)

    def note(self, resource: Resource, status: Body) -> None:
        """Takes over what a run has found."""
        ref, conditions = resource.ref, status.get("conditions")
        entries = [mapping(entry) for entry in conditions] if isinstance(conditions, list) else []
        self._is(ref, _state(entries))
        current = find(entries, SECRET_CURRENT)
        _keep(self._stuck, ref, current is not None and current.status == "False")
        _keep(self._under_way, ref, mapping(status.get("secret")).get("phase", "Stable") != "Stable")
        self._show_rotations()
        if ref.kind == PROJECT:
            self._due.pop(ref, None)
            if due := _due(resource, status):
                self._due[ref] = due
        if ref.kind == CONNECTION:
            self._expires(ref, status.get("tokenExpiresAt"))

    def forget(self, ref: Ref) -> None:
        """Leaves out a resource that is gone."""
        self._is(ref, None)
        self._under_way.discard(ref)
        self._stuck.discard(ref)
        self._show_rotations()
        self._due.pop(ref, None)
        self._expires(ref, None)

    def _is(self, ref: Ref, state: str | None) -> None:
        before = self._states.pop(ref, None)
        if state:
            self._states[ref] = state
        if before == state:
            return
        self._numbers[ref.kind, before] -= 1
        self._numbers[ref.kind, state] += 1
        for each in STATES:
            RESOURCES.labels(ref.kind, each).set(self._numbers[ref.kind, each])

    def _expires(self, ref: Ref, when: object) -> None:
        name = f"{ref.namespace}/{ref.name}"
        if isinstance(when, str):
            self._expire.add(ref)
            TOKEN_EXPIRES.labels(name).set(datetime.fromisoformat(when).timestamp())
        elif ref in self._expire:
            self._expire.remove(ref)
            TOKEN_EXPIRES.remove(name)

    def _next_due(self) -> float:
        """Is called in another thread."""
        return min(list(self._due.values()), default=0.0)

    def _show_rotations(self) -> None:
        ROTATING.set(len(self._under_way))
        ROTATIONS_STUCK.set(len(self._stuck))


def _keep(refs: set[Ref], ref: Ref, there: bool) -> None:
    (refs.add if there else refs.discard)(ref)


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
