"""What comes next in a rotation: by a table, and in a world where anything may happen in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gitpulse_operator.domain import rotation
from gitpulse_operator.domain.credentials import Generation
from gitpulse_operator.domain.plan import Pushed
from gitpulse_operator.domain.rotation import DEAD_AFTER_MS, Facts, Pace, Wish, aim, decide, lagging, secret_current

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PACE = Pace(timedelta(seconds=20), timedelta(minutes=15))
BASE = Facts(
    held=(1,), pushed=1, phase="Stable", since=NOW - timedelta(days=1), now=NOW, overlap=timedelta(hours=1), pace=PACE
)
WISH = Wish("asked for")
LATE = NOW - timedelta(seconds=20)
TWO = replace(BASE, held=(2, 1))
PUSHED = replace(TWO, pushed=2, phase="Pushed", since=NOW - timedelta(seconds=5))
PROVEN = replace(TWO, pushed=2, proven=(1, 2), phase="Proven", since=NOW - timedelta(minutes=50))

OVER = replace(PROVEN, since=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("facts", "step", "phase", "again", "aimed"),
    [
        pytest.param(BASE, "Rest", "Stable", None, 1, id="nothing to do"),
        pytest.param(replace(BASE, wish=WISH), "Begin", "Stable", None, 1, id="asked for"),
        pytest.param(replace(BASE, wish=WISH, healthy=False), "Rest", "Stable", None, 1, id="asked for, and failing"),
        pytest.param(replace(BASE, pushed=None), "Push", "Published", None, 1, id="the first"),
        pytest.param(replace(BASE, held=(2,)), "Push", "Published", None, 2, id="the old one was lost"),
        pytest.param(replace(BASE, held=(2,), healthy=False), "Push", "Published", None, 2, id="lost, so it fails"),
        pytest.param(TWO, "Push", "Published", None, 2, id="all receivers know it"),
        pytest.param(replace(TWO, lagging=("a",)), "Wait", "Published", 1, 1, id="one does not"),
        pytest.param(
            replace(TWO, lagging=("a",), phase="Published", since=LATE), "Wait", "Published", 20, 1, id="nor later"
        ),
        pytest.param(replace(TWO, lagging=("a",), phase="Published"), "Wait", "Published", 30, 1, id="nor after a day"),
        pytest.param(replace(TWO, healthy=False), "Wait", "Published", None, 1, id="known, and failing"),
        pytest.param(replace(TWO, pushed=None), "Push", "Published", None, 2, id="the status was lost"),
        pytest.param(replace(TWO, pushed=None, lagging=("a",)), "Wait", "Published", 1, 1, id="lost, and one lags"),
        pytest.param(PUSHED, "Wait", "Pushed", 15, 2, id="a real delivery may come"),
        pytest.param(replace(PUSHED, since=LATE), "Test", "Pushed", 60, 2, id="it did not"),
        pytest.param(replace(PUSHED, since=LATE, switched_on=False), "Wait", "Pushed", 60, 2, id="it is off"),
        pytest.param(replace(PUSHED, proven=(2,)), "Wait", "Proven", 3600, 2, id="it came just now"),
        pytest.param(PROVEN, "Wait", "Proven", 600, 2, id="the overlap"),
        pytest.param(OVER, "Drop", "Proven", None, 2, id="and its end"),
        pytest.param(replace(OVER, healthy=False), "Wait", "Proven", None, 2, id="refused by now"),
        pytest.param(replace(PROVEN, wish=WISH), "Wait", "Proven", 600, 2, id="another wish waits"),
        pytest.param(replace(PROVEN, proven=()), "Wait", "Pushed", 20, 2, id="the notes were lost"),
    ],
)  # fmt: skip
def test_what_comes_next(facts, step, phase, again, aimed):
    decision = decide(facts)
    assert (decision.step, decision.standing.phase, decision.again) == (step, phase, again)
    assert decision.standing.since == (facts.since if phase == facts.phase else NOW)
    assert aim(facts) == aimed


def test_a_rotation_that_takes_too_long_is_stuck():
    def found(facts: Facts) -> tuple[str, str]:
        condition = secret_current(decide(facts).standing, now=NOW, deadline=PACE.deadline)
        return condition.status, condition.reason

    late = NOW - timedelta(minutes=15)
    assert found(BASE) == ("True", "Current")
    assert found(replace(BASE, wish=WISH, healthy=False)) == ("True", "RotationHeld")
    assert found(PUSHED) == ("True", "Rotating")
    assert found(replace(PUSHED, since=late)) == ("False", "RotationStuck")
    assert found(replace(TWO, lagging=("a",), phase="Published", since=late)) == ("False", "RotationStuck")
    assert found(PROVEN) == ("True", "Rotating"), "an overlap is no delay"
    assert found(replace(PROVEN, healthy=False, since=late - timedelta(hours=1))) == ("False", "RotationStuck")


def test_a_receiver_is_waited_for_while_it_lives():
    def said(version: str, seconds_ago: float) -> tuple[str, int]:
        return version, int((NOW.timestamp() - seconds_ago) * 1000)

    acks = {"new": said("10-0", 1), "old": said("9-9", 1), "older": said("9-9", 59), "dead": said("9-9", 61)}
    assert lagging("10-0", acks, NOW) == ("old", "older")
    assert lagging("9-9", acks, NOW) == ()
    assert lagging("10-0", {"ahead": said("9-9", -600)}, NOW) == ("ahead",), "a fast clock is no death"


MADE, MINE = Generation(1, b"r" * 32), Generation(1, b"mine", brought=True)


@pytest.mark.parametrize(
    ("newest", "changes", "why"),
    [
        (MADE, {}, None),
        (MADE, {"pushed": None, "brought": b"mine"}, None),
        (MADE, {"brought": b"mine"}, "another one was brought"),
        (MINE, {"brought": b"mine"}, None),
        (MINE, {"brought": b"other"}, "another one was brought"),
        (MINE, {}, "it is ours to make now"),
        (MADE, {"verification": "SigningToken"}, "from Token to SigningToken"),
        (MADE, {"requests": {"resource": ("2", "1")}}, "asked for by an annotation of the resource"),
        (
            MADE,
            {"requests": {"resource": ("1", "1"), "connection": ("x", None)}},
            "asked for by an annotation of the connection",
        ),
        (MADE, {"requests": {"resource": (None, "1")}}, None),
        (MINE, {"brought": b"mine", "requests": {"resource": ("2", "1")}}, None),
        (MADE, {"made_at": NOW - timedelta(days=90)}, "it is as old as `rotationInterval` allows"),
        (MADE, {"made_at": NOW - timedelta(days=89)}, None),
        (MADE, {"made_at": NOW - timedelta(days=90), "interval": timedelta()}, None),
        (MINE, {"brought": b"mine", "made_at": NOW - timedelta(days=90)}, None),
    ],
)
def test_why_a_secret_is_rotated(newest, changes, why):
    facts = {
        "pushed": Pushed(5, 1, "Token"),
        "brought": None,
        "verification": "Token",
        "requests": {"resource": (None, None), "connection": (None, None)},
        "made_at": NOW,
        "interval": timedelta(days=90),
        "now": NOW,
        **changes,
    }
    found = rotation.wish(newest, facts.pop("pushed"), **facts)
    assert (found and found.why) == why


@pytest.mark.parametrize(
    ("held", "pushed", "previous", "weakest"),
    [
        ((1,), None, None, "Token"),
        ((1,), Pushed(5, 1, "SigningToken"), None, "SigningToken"),
        ((1,), Pushed(5, 1, "Token"), None, "Token"),
        ((2, 1), Pushed(5, 1, "SigningToken"), None, "Token"),  # to what, nobody knows yet
        ((2, 1), Pushed(5, 2, "SigningToken"), "Token", "Token"),
        ((2, 1), Pushed(5, 2, "SigningToken"), None, "Token"),
        ((2, 1), Pushed(5, 2, "SigningToken"), "SigningToken", "SigningToken"),
        ((2, 1), Pushed(5, 2, "Token"), "SigningToken", "Token"),
        ((2,), Pushed(5, 1, "SigningToken"), None, "Token"),
        ((2,), Pushed(5, 2, "SigningToken"), "Token", "SigningToken"),
    ],
)
def test_no_delivery_is_asked_for_more_than_gitlab_may_send(held, pushed, previous, weakest):
    assert rotation.weakest(held, pushed, previous) == weakest


@dataclass
class Receiver:
    """Knows what it has read, and has said so lately unless it is dead."""

    known: tuple[int, ...]
    version: int
    dead_for: float | None = None


@dataclass
class Delivery:
    generation: int
    arrives_by: datetime


@dataclass
class Kept:
    """What outlives the operator."""

    held: tuple[int, ...] = (1,)
    pushed: int | None = 1
    phase: rotation.Phase = "Stable"
    since: datetime = NOW
    published: tuple[int, ...] = (1,)
    version: int = 1
    gitlab: int = 1
    answered: int = 1
    """What GitLab has said that it took; that it uses it may come later."""
    accepted: set[int] = field(default_factory=set)


class AnythingMayHappen(RuleBasedStateMachine):
    """Runs, deaths, receivers that lag, die and come back, deliveries that take their time, a clock that moves.

    A run does what `reconcile.rotation` does, in its order, and may end after each thing it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.kept, self.wanted = NOW, Kept(), False
        self.receivers = [Receiver((1,), 1) for _ in range(3)]
        self.under_way: list[Delivery] = []
        self.operator: Iterator[None] | None = None
        self.completed = 0

    def facts(self, pushed: int | None, held: tuple[int, ...]) -> Facts:
        acks = {
            str(number): (f"{receiver.version}-0", int((self.now.timestamp() - (receiver.dead_for or 0)) * 1000))
            for number, receiver in enumerate(self.receivers)
        }
        return replace(
            BASE, held=held, pushed=pushed, phase=self.kept.phase, since=self.kept.since, now=self.now,
            proven=frozenset(self.kept.accepted), wish=WISH if self.wanted else None, overlap=timedelta(minutes=1),
            lagging=lagging(f"{self.kept.version}-0", acks, self.now),
        )  # fmt: skip

    def publish(self) -> None:
        if self.kept.published != self.kept.held:
            self.kept.published, self.kept.version = self.kept.held, self.kept.version + 1

    def a_run(self) -> Iterator[None]:
        kept, pushed = self.kept, self.kept.pushed
        self.publish()
        yield
        if decide(self.facts(pushed, kept.held)).step == "Begin":
            kept.held = (kept.held[0] + 1, *kept.held)
            yield
            self.publish()
            yield
        if (given := aim(self.facts(pushed, kept.held))) != pushed:
            kept.answered = given
            yield
            pushed, self.wanted = given, False
        if decide(self.facts(pushed, kept.held)).step == "Drop":
            kept.held = kept.held[:1]
            self.completed += 1
            yield
            self.publish()
            yield
        standing = decide(self.facts(pushed, kept.held)).standing
        kept.pushed, kept.phase, kept.since = pushed, standing.phase, standing.since

    @rule()
    def want(self) -> None:
        self.wanted = True

    @rule(steps=st.integers(1, 8))
    def work(self, steps: int) -> None:
        self.operator = self.operator or self.a_run()
        for _ in range(steps):
            if next(self.operator, self) is self:
                self.operator = None
                return

    @rule()
    def die(self) -> None:
        self.operator = None

    @rule()
    def lose_the_status(self) -> None:
        self.operator = None
        self.kept.pushed, self.kept.phase, self.kept.since = None, "Stable", self.now

    @rule(which=st.sampled_from([(0, 1, 2), (0, 1, 2), (0, 1), (2,)]))
    def catch_up(self, which: tuple[int, ...]) -> None:
        for receiver in (self.receivers[number] for number in which):
            if receiver.dead_for is None:
                receiver.known, receiver.version = self.kept.published, self.kept.version

    @rule(which=st.integers(0, 2))
    def fall(self, which: int) -> None:
        self.receivers[which].dead_for = self.receivers[which].dead_for or 0.0

    @rule(which=st.integers(0, 2))
    def rise(self, which: int) -> None:
        """A receiver that starts loads everything before it takes anything."""
        self.receivers[which] = Receiver(self.kept.published, self.kept.version)

    @rule()
    def take_effect(self) -> None:
        self.kept.gitlab = self.kept.answered

    @rule()
    def send(self) -> None:
        self.under_way.append(Delivery(self.kept.gitlab, self.now + timedelta(seconds=59)))

    @rule()
    def all_goes_well(self) -> None:
        """But the last delivery with what GitLab had before takes its time."""
        self.send()
        self.catch_up((0, 1, 2))
        self.work(8)
        self.take_effect()
        self.send()
        self.arrive(which=0, number=-1)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 2), number=st.sampled_from([0, -1]))
    def arrive(self, which: int, number: int) -> None:
        delivery, receiver = self.under_way.pop(number), self.receivers[which]
        if receiver.dead_for is None:
            assert delivery.generation in receiver.known, "refused"
            self.kept.accepted.add(delivery.generation)

    @rule(seconds=st.sampled_from([1, 30, DEAD_AFTER_MS // 1000 + 1, 3600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for receiver in self.receivers:
            if receiver.dead_for is not None:
                receiver.dead_for += seconds
        while self.under_way and self.under_way[0].arrives_by < self.now:
            self.arrive(which=0, number=0)

    @invariant()
    def every_live_receiver_knows_what_gitlab_sends(self) -> None:
        assert {self.kept.gitlab, self.kept.answered} <= set(self.kept.held)
        for receiver in self.receivers:
            assert receiver.dead_for is not None or {self.kept.gitlab, self.kept.answered} <= set(receiver.known)

    def teardown(self) -> None:
        """However it stands, it comes to an end once all is well."""
        self.wanted = False
        for _ in range(8):
            self.operator = None
            for which in range(3):
                self.rise(which)
            self.work(8)
            self.take_effect()
            self.send()
            self.arrive(which=0, number=-1)
            self.wait(3600)
        assert (self.kept.phase, len(self.kept.held)) == ("Stable", 1)
        assert self.kept.gitlab == self.kept.pushed == self.kept.held[0]


TestAnythingMayHappen = AnythingMayHappen.TestCase
TestAnythingMayHappen.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
