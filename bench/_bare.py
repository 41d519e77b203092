"""What the operator is measured against: a bare kopf operator that does nothing but write a status, once an object."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("gitpulse.io", "v1alpha1", "gitpulseteams")
@kopf.on.resume("gitpulse.io", "v1alpha1", "gitpulseteams")
async def seen(meta: kopf.Meta, patch: kopf.Patch, **_: Any) -> None:
    patch.status["observedGeneration"] = meta["generation"]


@kopf.on.delete("gitpulse.io", "v1alpha1", "gitpulseteams")
async def gone(**_: Any) -> None:
    """As our own operator it holds each object by a finalizer."""
