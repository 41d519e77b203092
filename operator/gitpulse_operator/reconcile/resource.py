"""A custom resource as the watch or a file shows it, and what a reconciliation makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from gitpulse_operator.domain.conditions import Condition, to_status
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.names import FINALIZER, RECONCILE_REQUESTED, ROTATE_REQUESTED

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of a resource."""

    kind: str
    namespace: str
    name: str
    member: int = 0
    """Of a group that is followed project by project: the id of one of them; 0: the resource as a whole."""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" + (f" (project {self.member})" if self.member else "")

    @property
    def key(self) -> str:
        """Its name among the reports of hooks."""
        return f"{self.namespace}/{self.name}" + (f"/{self.member}" if self.member else "")

    @property
    def whole(self) -> Ref:
        """The resource that this is one project of, or is."""
        return Ref(self.kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Resource:
    """The parts of a custom resource that reconciling needs."""

    ref: Ref
    uid: str
    generation: int
    spec: Body
    status: Body
    annotations: Mapping[str, str]
    deleted_at: datetime | None
    held: bool
    """Whether our finalizer is on it. Before that it could go at any moment and leave a hook behind."""
    created_at: datetime | None = None
    """None of a file's."""

    @classmethod
    def from_body(cls, body: Body) -> Resource:
        """Reads a resource as the Kubernetes API shows it."""
        meta = mapping(body.get("metadata"))
        deleted_at, finalizers = meta.get("deletionTimestamp"), meta.get("finalizers")
        generation, member, created_at = meta.get("generation"), meta.get("member"), meta.get("creationTimestamp")
        return cls(
            ref=Ref(
                str(body.get("kind")),
                str(meta.get("namespace") or "default"),
                str(meta.get("name")),
                member if isinstance(member, int) else 0,
            ),
            uid=str(meta.get("uid")),
            generation=generation if isinstance(generation, int) else 1,
            spec=mapping(body.get("spec")),
            status=mapping(body.get("status")),
            annotations={key: str(value) for key, value in mapping(meta.get("annotations")).items()},
            deleted_at=datetime.fromisoformat(deleted_at) if isinstance(deleted_at, str) else None,
            held=isinstance(finalizers, list) and FINALIZER in finalizers,
            created_at=datetime.fromisoformat(created_at) if isinstance(created_at, str) else None,
        )

    @property
    def conditions(self) -> list[Body]:
        """The conditions of its status."""
        entries = self.status.get("conditions")
        return [mapping(entry) for entry in entries] if isinstance(entries, list) else []

    @property
    def wishes(self) -> tuple[object, ...]:
        """What a run answers to: when it changes, another one is due."""
        return self.uid, self.generation, self.requested, self.rotation_requested, self.held

    def answer(self, conditions: Sequence[Condition], now: datetime) -> dict[str, object]:
        """What each status says: these conditions, and to what they are the answer."""
        entries = to_status(conditions, before=self.conditions, generation=self.generation, now=now)
        asked: Body = {"lastHandledReconcileAt": self.requested} if self.requested else {}
        return {"observedGeneration": self.generation, "conditions": entries, **asked}

    def waited(self, now: datetime) -> float:
        """Seconds since it was deleted; 0: it is not."""
        return (now - self.deleted_at).total_seconds() if self.deleted_at else 0.0

    @property
    def requested(self) -> str | None:
        """The value by which a run was last asked for."""
        return self.annotations.get(RECONCILE_REQUESTED)

    @property
    def asked(self) -> bool:
        """Whether no run has answered that yet."""
        return self.requested is not None and self.requested != self.status.get("lastHandledReconcileAt")

    @property
    def rotation_requested(self) -> str | None:
        """The value by which a new secret was last asked for."""
        return self.annotations.get(ROTATE_REQUESTED)


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth an Event: a transition, never routine."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconciliation found and did. `error` is what kept it from being done."""

    status: dict[str, object]
    notes: Sequence[Note] = field(default=())
    error: OperatorError | None = None
    again: float | None = None
    """Seconds after which to come back, if that is sooner than usual."""
    wake: Sequence[Ref] = ()
    """What is worth a run because of this one."""


def mapping(value: object) -> Body:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}
