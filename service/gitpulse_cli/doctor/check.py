"""Looks at one thing after another, and at none whose basis is found broken: that would only name a consequence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gitpulse_cli.doctor.finding import Finding, Seen, Status, passed
from gitpulse_operator.errors import OperatorError
from gitpulse_service.errors import ServiceError

P = TypeVar("P")
PATIENCE = 90.0
"""Seconds for one look. GitLab may take 20 for each answer, and makes test deliveries one by one."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at."""

    name: str = ""
    within: tuple[str, ...] = ()
    """The subjects that it rests on."""


@dataclass(frozen=True, slots=True)
class Check(Generic[P]):
    """One kind of look, at each of some subjects. `needs`: the checks without whose health it would mean nothing."""

    name: str
    subjects: Callable[[P], Iterable[Subject]]
    look: Callable[[P, Subject], AsyncIterator[Seen]]
    needs: tuple[str, ...] = ()


async def examine(
    checks: Sequence[Check[P]], patient: P, tell: Callable[[str], object] = lambda _: None
) -> list[Finding]:
    """All checks in this order, in which each comes after those it needs. `tell` hears what is being looked at."""
    found: list[Finding] = []
    for check in checks:
        for subject in list(check.subjects(patient)):
            tell(f"{check.name} {subject.name}".strip())
            if root := _root(check, subject, found):
                assert root.cause
                where = f" ({root.subject})" if root.subject not in ("", subject.name) else ""
                seen = [passed(f"not checked because of {root.cause.id}{where}")]
            else:
                seen = await _look(check, subject, patient)
            found += [Finding(check.name, subject.name, it.status, it.evidence, it.cause) for it in seen]
    return found


def _root(check: Check[P], subject: Subject, found: list[Finding]) -> Finding | None:
    """What is already known to be broken below it."""
    places = {"", subject.name, *subject.within}
    broken = (it for it in found if it.status is Status.PROBLEM and it.check in check.needs and it.subject in places)
    return next(broken, None)


async def _look(check: Check[P], subject: Subject, patient: P) -> list[Seen]:
    seen: list[Seen] = []
    try:
        async with asyncio.timeout(PATIENCE):
            async for it in check.look(patient, subject):
                seen.append(it)  # noqa: PERF401 - what was seen before an error counts
    except ModuleNotFoundError as error:  # an image has what its own program needs
        seen.append(passed(f"not checked: {error.name} is not installed here"))
    except (OperatorError, ServiceError) as error:
        seen.append(Seen(Status.UNKNOWN, f"could not look: {error}"))
    except TimeoutError:
        seen.append(Seen(Status.UNKNOWN, f"could not look: no answer in {PATIENCE:.0f} s"))
    return seen
