"""What a look at one thing has found. Pure values; what can be wrong at all stands in `causes`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    """We could not look."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that can be wrong, and what a person does about it."""

    id: str
    """Stable, CamelCase: for scripts."""
    says: str
    cure: str
    runbook: str = ""
    """Name of a page of `docs/runbooks`."""
    status: Status = Status.PROBLEM


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    subject: str
    """What was looked at: a resource's `namespace/name`, a URL; empty: the installation as a whole."""
    status: Status
    evidence: str
    """What was seen; for what was skipped, why. It never holds a secret."""
    cause: Cause | None = None

    def as_row(self) -> dict[str, str]:
        """For programs and tables."""
        cause = self.cause
        return {
            "status": self.status.value,
            "check": self.check,
            "subject": self.subject,
            "cause": cause.id if cause else "",
            "evidence": self.evidence,
            "cure": cause.cure if cause else "",
            "runbook": f"docs/runbooks/{cause.runbook}.md" if cause and cause.runbook else "",
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding before it is known of what."""

    status: Status
    evidence: str
    cause: Cause | None = None


def fine(evidence: str) -> Seen:
    """Nothing is wrong."""
    return Seen(Status.OK, evidence)


def passed(why: str) -> Seen:
    """There is nothing to look at, or no way to."""
    return Seen(Status.SKIPPED, why)


def wrong(cause: Cause, evidence: str) -> Seen:
    """This is wrong."""
    return Seen(cause.status, " ".join(evidence.split()), cause)


def exit_code(findings: list[Finding]) -> int:
    """0: nothing is wrong, 1: something is, 2: nothing was found, but not everything could be looked at."""
    statuses = {finding.status for finding in findings}
    if statuses & {Status.PROBLEM, Status.WARNING}:
        return 1
    return 2 if Status.UNKNOWN in statuses else 0
