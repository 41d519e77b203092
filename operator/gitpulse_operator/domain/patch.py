"""JSON merge patches (RFC 7386): the smallest one from a status to another, and what one makes of a status."""

from __future__ import annotations

from collections.abc import Mapping


def merge_patch(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """What must be sent so that `before` becomes `after`; empty if they are equal. Lists are replaced whole."""
    patch: dict[str, object] = dict.fromkeys(before.keys() - after.keys())
    for field, wanted in after.items():
        present = before.get(field)
        if isinstance(wanted, Mapping) and isinstance(present, Mapping):
            if part := merge_patch(present, wanted):
                patch[field] = part
        elif wanted != present:
            patch[field] = wanted
    return patch


def merged(before: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, object]:
    """What Kubernetes makes of a merge patch."""
    after = {**before}
    for field, value in patch.items():
        if value is None:
            after.pop(field, None)
        elif isinstance(value, Mapping):
            present = before.get(field)
            after[field] = merged(present if isinstance(present, Mapping) else {}, value)
        else:
            after[field] = value
    return after
