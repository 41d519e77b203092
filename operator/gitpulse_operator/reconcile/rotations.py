"""How many rotations are under way, and how many are stuck, over all resources, for Prometheus."""

from __future__ import annotations

from gitpulse_operator.domain.conditions import SECRET_CURRENT, find
from gitpulse_operator.metrics import ROTATING, ROTATIONS_STUCK
from gitpulse_operator.reconcile.resource import Body, Ref, mapping


class Rotations:
    """Knows of each resource how its last run left its rotation."""

    def __init__(self) -> None:
        self._under_way: set[Ref] = set()
        self._stuck: set[Ref] = set()

    def note(self, ref: Ref, status: Body) -> None:
        """Takes over what a run has found."""
        self.forget(ref)
        conditions = status.get("conditions")
        entries = [mapping(entry) for entry in conditions] if isinstance(conditions, list) else []
        current = find(entries, SECRET_CURRENT)
        if current and current.status == "False":
            self._stuck.add(ref)
        if mapping(status.get("secret")).get("phase", "Stable") != "Stable":
            self._under_way.add(ref)
        self._show()

    def forget(self, ref: Ref) -> None:
        """Leaves out a resource that is gone."""
        self._under_way.discard(ref)
        self._stuck.discard(ref)
        self._show()

    def _show(self) -> None:
        ROTATING.set(len(self._under_way))
        ROTATIONS_STUCK.set(len(self._stuck))
