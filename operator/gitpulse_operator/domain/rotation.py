"""The rotation of a hook's secret: where it stands, and what comes next. Every fact is handed in.

A rotation begins when a new generation is stored beside the old one. From then on its phase follows from what is there,
so that it goes on after a crash at any point:

- `Published`: receivers are told of the new generation, and GitLab was not given it as far as the status knows;
- `Pushed`: GitLab was given it;
- `Proven`: a delivery that it made authentic has arrived, and the old one is accepted until the overlap is over;
- `Stable`: there is one generation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from gitpulse_operator.domain.conditions import SECRET_CURRENT, Condition, timestamp
from gitpulse_operator.domain.credentials import Generation, Verification
from gitpulse_operator.domain.plan import Pushed

Phase = Literal["Stable", "Published", "Pushed", "Proven"]
Step = Literal["Rest", "Begin", "Wait", "Push", "Test", "Drop"]

DEAD_AFTER_MS = 60_000
"""A receiver says each second how far it has come. One that has said nothing for so long is not waited for."""
LONGEST_PAUSE = 30.0
"""Seconds between looks at receivers that lag behind; the first comes after one second."""
NEXT_TEST = 60.0
"""Seconds between test deliveries that proved nothing. GitLab allows five a minute for each project or group."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a rotation waits for what."""

    patience: timedelta = timedelta(seconds=20)
    """For a real delivery, before a test delivery is asked for."""
    deadline: timedelta = timedelta(minutes=15)
    """For the next phase, before the rotation is called stuck."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Why the secret should be rotated."""

    why: str
    shared: bool = False
    """Whether many hooks may have the same wish at the same time: then they take turns."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rotation stands."""

    phase: Phase
    since: datetime
    generation: int
    """The newest one."""
    waits: str = ""
    """For what, in words for people; empty: for nothing."""
    ends: datetime | None = None
    """When the overlap is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the next step depends on."""

    held: tuple[int, ...]
    """Generations in the Kubernetes Secret, newest first; receivers are told of all of them."""
    pushed: int | None
    """The generation that GitLab was given, by the status; None: nobody knows."""
    proven: Collection[int] = ()
    """Generations that have made a delivery authentic."""
    lagging: tuple[str, ...] = ()
    """Receivers that do not know all generations yet."""
    healthy: bool = True
    """Whether nothing speaks against the hook: it is not switched off, and nothing it sends is refused."""
    switched_on: bool = True
    """Whether GitLab sends the hook's events."""
    wish: Wish | None = None
    phase: Phase
    """The phase by the status; it tells only since when."""
    since: datetime
    now: datetime
    overlap: timedelta
    pace: Pace


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and where that leaves the rotation; `again`: seconds until the next look, if one is due."""

    step: Step
    standing: Standing
    again: float | None = None


def phase_of(held: tuple[int, ...], pushed: int | None, proven: Collection[int]) -> Phase:
    """The phase that follows from the generations."""
    if pushed != held[0]:
        return "Published"
    if len(held) == 1:
        return "Stable"
    return "Proven" if pushed in proven else "Pushed"


def decide(facts: Facts) -> Decision:
    """The next step. `Wait` and `Rest` end a run; any other one leads to new facts."""
    phase = phase_of(facts.held, facts.pushed, facts.proven)
    standing = Standing(phase, facts.since if phase == facts.phase else facts.now, facts.held[0])
    elapsed = facts.now - standing.since
    match phase:
        case "Stable":
            return _stable(facts, standing)
        case "Published":
            return _published(facts, standing, elapsed)
        case "Pushed":
            standing = replace(standing, waits="GitLab has it; a delivery that proves it has not arrived yet")
            if elapsed < facts.pace.patience:
                return Decision("Wait", standing, (facts.pace.patience - elapsed).total_seconds())
            return Decision("Test" if facts.switched_on else "Wait", standing, NEXT_TEST)
        case "Proven":
            return _proven(facts, standing, elapsed)


def remembered(held: tuple[int, ...], pushed: int, phase: Phase, since: datetime | None, now: datetime) -> Standing:
    """Where it stands as far as the status tells, before anybody was asked."""
    found = phase_of(held, pushed, (pushed,) if phase == "Proven" else ())
    return Standing(found, since if since and found == phase else now, held[0])


def aim(facts: Facts) -> int:
    """The generation that GitLab is to have now: never one that a live receiver may not know."""
    if decide(facts).step == "Push":
        return facts.held[0]
    return facts.pushed if facts.pushed in facts.held else facts.held[-1]


def _stable(facts: Facts, standing: Standing) -> Decision:
    if facts.wish is None:
        return Decision("Rest", standing)
    if facts.healthy:
        return Decision("Begin", standing)
    return Decision("Rest", replace(standing, waits=f"it is to be rotated ({facts.wish.why}) once its hook delivers"))


def _published(facts: Facts, standing: Standing, elapsed: timedelta) -> Decision:
    if len(facts.held) == 1:  # the first one, or in place of one that was lost: there is nothing to lose
        return Decision("Push", standing)
    if facts.lagging:
        waits = f"receivers that have not taken it over yet: {', '.join(facts.lagging[:5])}"
        return Decision("Wait", replace(standing, waits=waits), min(max(1.0, elapsed.total_seconds()), LONGEST_PAUSE))
    if facts.pushed in facts.held and not facts.healthy:
        return Decision("Wait", replace(standing, waits="receivers know it; GitLab is given it once its hook delivers"))
    return Decision("Push", standing)


def _proven(facts: Facts, standing: Standing, elapsed: timedelta) -> Decision:
    ends = standing.since + facts.overlap
    old = ", ".join(str(number) for number in facts.held[1:])
    waits = f"a delivery with it has arrived; the old one ({old}) is accepted until {timestamp(ends)}"
    standing = replace(standing, waits=waits, ends=ends)
    if elapsed < facts.overlap:
        return Decision("Wait", standing, (facts.overlap - elapsed).total_seconds())
    if facts.healthy:
        return Decision("Drop", standing)
    waits = f"a delivery with it has arrived; the old one ({old}) is accepted until its hook delivers again"
    return Decision("Wait", replace(standing, waits=waits))


def weakest(held: tuple[int, ...], pushed: Pushed | None, previous: Verification | None) -> Verification:
    """The least by which a delivery may be authentic now, so that none is refused that GitLab may send.

    `previous`: how deliveries with the old generation are verified, while there is one.
    """
    if pushed is None or pushed.generation != held[0] or (len(held) > 1 and previous != "SigningToken"):
        return "Token"
    return pushed.verification


def wish(
    newest: Generation,
    pushed: Pushed | None,
    *,
    brought: bytes | None,
    verification: Verification,
    requests: Mapping[str, tuple[str | None, str | None]],
    made_at: datetime | None,
    interval: timedelta,
    now: datetime,
) -> Wish | None:
    """Why a secret that GitLab was given should be rotated.

    `brought`: what the user wants it to be; `requests`: by whom it was asked for, with the value that asks and the one
    that was answered last; `interval` 0: age does not matter.
    """
    if pushed is None:
        return None
    if newest.brought != (brought is not None) or (newest.brought and newest.material != brought):
        return Wish("another one was brought" if brought is not None else "it is ours to make now")
    if pushed.verification != verification:
        return Wish(f"from {pushed.verification} to {verification}")
    for asker, (asked, answered) in requests.items():
        if asked is not None and asked != answered and not newest.brought:
            return Wish(f"asked for by an annotation of the {asker}", shared=asker != "resource")
    if interval and not newest.brought and made_at and now - made_at >= interval:
        return Wish("it is as old as `rotationInterval` allows", shared=True)
    return None


def lagging(version: str, acknowledgements: Mapping[str, tuple[str, int]], now: datetime) -> tuple[str, ...]:
    """Live receivers that have not taken over this version of the directory.

    `acknowledgements`: receiver -> the version it has, and when it said so in Unix milliseconds by its own clock.
    """
    said_lately = now.timestamp() * 1000 - DEAD_AFTER_MS
    return tuple(
        sorted(
            receiver
            for receiver, (known, said_at) in acknowledgements.items()
            if said_at >= said_lately and _order(known) < _order(version)
        )
    )


def secret_current(standing: Standing, *, now: datetime, deadline: timedelta) -> Condition:
    """The condition `SecretCurrent`. Its message changes only with the phase and what is waited for."""
    number = standing.generation
    if standing.phase == "Stable":
        if standing.waits:
            return Condition(
                SECRET_CURRENT, "True", "RotationHeld", f"Generation {number} is in use; {standing.waits}."
            )
        return Condition(SECRET_CURRENT, "True", "Current", f"Generation {number} is in use.")
    text = f"Rotating to generation {number} ({standing.phase})" + (f": {standing.waits}." if standing.waits else ".")
    began = standing.ends if standing.phase == "Proven" else standing.since
    if began and now - began >= deadline:
        return Condition(SECRET_CURRENT, "False", "RotationStuck", f"{text} That takes too long.")
    return Condition(SECRET_CURRENT, "True", "Rotating", text)


def _order(version: str) -> tuple[int, int]:
    milliseconds, _, sequence = version.partition("-")
    return int(milliseconds), int(sequence)
