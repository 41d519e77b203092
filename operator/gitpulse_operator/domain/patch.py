"""The smallest JSON merge patch (RFC 7386) from one status to another."""

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
