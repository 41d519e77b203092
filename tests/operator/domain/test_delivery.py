"""What is said of a hook's deliveries, by who says what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitpulse_operator.domain.conditions import Condition
from gitpulse_operator.domain.delivery import Feedback, Log, Logged, delivering, is_doubtful, is_news
from gitpulse_operator.domain.hooks import ObservedHook
from gitpulse_operator.domain.revival import anyone_alive, lasted, triggers

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ON = ObservedHook(5, {"url": "https://x.example/a", "alert_status": "executable"})
OFF_FOR_A_WHILE = ObservedHook(5, {"alert_status": "temporarily_disabled", "disabled_until": "2026-11-23T13:00:00Z"})
OFF_FOR_GOOD = ObservedHook(5, {"alert_status": "disabled", "disabled_until": "2026-11-23T13:00:00Z"})
OLDER = ObservedHook(5, {"url": "https://x.example/a"})
"""A GitLab that shows no `alert_status`."""


def ago(**time: float) -> int:
    """Unix milliseconds."""
    return round((NOW - timedelta(**time)).timestamp() * 1000)


NONE = Feedback({}, None, "")
FRESH = Feedback({1: ago(days=9), 2: ago(minutes=5)}, None, "")
QUIET = Feedback({1: ago(hours=2)}, None, "")
SILENT = Feedback({1: ago(hours=73)}, None, "")
REFUSED = Feedback({1: ago(hours=2)}, ago(hours=1), "stale")
REFUSED_ONCE = Feedback({1: ago(minutes=2)}, ago(minutes=3), "stale")
REFUSED_ALWAYS = Feedback({}, ago(hours=1), "")

EMPTY, NO_LOG = Log(), Log(readable=False)
FAILED = Log((Logged(9, None), Logged(8, 200)))
ANSWERED_502 = Log((Logged(9, 502),))
ANSWERED_401 = Log((Logged(9, 401),))
TAKEN = Log((Logged(9, 200), Logged(8, None)))


@pytest.mark.parametrize(
    ("hook", "feedback", "log", "before", "expected"),
    [
        (ON, NONE, None, "", "Unknown NoDeliveryYet"),
        (OLDER, NONE, None, "", "Unknown NoDeliveryYet"),
        (ON, NONE, EMPTY, "", "Unknown NoDeliveryYet"),
        (ON, NONE, NO_LOG, "", "Unknown NoDeliveryYet"),
        (ON, NONE, TAKEN, "", "Unknown NoDeliveryYet"),
        (ON, NONE, FAILED, "", "False ReceiverUnreachable"),
        (ON, NONE, ANSWERED_502, "", "False ReceiverUnreachable"),
        (ON, NONE, ANSWERED_401, "", "False SecretRefused"),
        (ON, FRESH, None, "", "True Proven"),
        (ON, FRESH, None, "SecretRefused", "True Proven"),
        (ON, FRESH, FAILED, "Proven", "True Proven"),
        (ON, FRESH, FAILED, "ReceiverUnreachable", "False ReceiverUnreachable"),
        (ON, FRESH, TAKEN, "ReceiverUnreachable", "True Proven"),
        (ON, QUIET, None, "Proven", "True Proven"),
        (ON, QUIET, EMPTY, "Proven", "True Proven"),
        (ON, QUIET, FAILED, "Proven", "False ReceiverUnreachable"),
        (ON, SILENT, None, "Proven", "True Proven"),
        (ON, SILENT, None, "Silent", "True Silent"),
        (ON, SILENT, EMPTY, "Proven", "True Silent"),
        (ON, SILENT, TAKEN, "Proven", "True Silent"),
        (ON, SILENT, FAILED, "Silent", "False ReceiverUnreachable"),
        (ON, SILENT, NO_LOG, "Proven", "Unknown Silent"),
        (ON, REFUSED, FAILED, "Proven", "False SecretRefused"),
        (ON, REFUSED_ALWAYS, None, "", "False SecretRefused"),
        (ON, REFUSED_ONCE, None, "Proven", "True Proven"),
        (OFF_FOR_A_WHILE, FRESH, None, "Proven", "False HookDisabled"),
        (OFF_FOR_GOOD, REFUSED, None, "SecretRefused", "False HookDisabled"),
    ],
)
def test_delivering(hook, feedback, log, before, expected):
    known = Condition("Delivering", "True", before, "as before") if before else None
    found = delivering(hook, feedback, log, known, NOW)
    assert f"{found.status} {found.reason}" == expected


def test_messages_say_what_to_do_and_until_when():
    assert "until 2026-11-23T13:00:00Z" in delivering(OFF_FOR_A_WHILE, FRESH, None, None, NOW).message
    assert "for good" in delivering(OFF_FOR_GOOD, FRESH, None, None, NOW).message
    assert "got no answer" in delivering(ON, NONE, FAILED, None, NOW).message
    assert "answered with 502" in delivering(ON, NONE, ANSWERED_502, None, NOW).message
    assert "https://x.example/a" in delivering(ON, NONE, FAILED, None, NOW).message
    assert "cannot be told" in delivering(ON, NONE, NO_LOG, None, NOW).message
    assert "cannot be told" not in delivering(ON, NONE, EMPTY, None, NOW).message
    assert "lead to receivers" in delivering(ON, NONE, TAKEN, None, NOW).message


@pytest.mark.parametrize(
    ("reason", "feedback"), [("NoDeliveryYet", NONE), ("Silent", SILENT)], ids=lambda value: str(value)[:12]
)
def test_what_the_log_said_holds_until_the_next_look(reason, feedback):
    before = Condition("Delivering", "Unknown", reason, "by the log")
    assert delivering(ON, feedback, None, before, NOW) == before


@pytest.mark.parametrize(
    ("hook", "feedback", "before", "doubtful"),
    [
        (ON, NONE, "", True),
        (ON, FRESH, "Proven", False),
        (ON, FRESH, "ReceiverUnreachable", True),
        (ON, QUIET, "Proven", True),
        (ON, REFUSED, "Proven", False),
        (OFF_FOR_GOOD, NONE, "", False),
    ],
)
def test_when_to_look_at_the_log(hook, feedback, before, doubtful):
    assert is_doubtful(hook, feedback, Condition("Delivering", "True", before, ""), NOW) is doubtful


@pytest.mark.parametrize(
    ("before", "feedback", "seen", "news"),
    [
        ("", FRESH, None, False),
        ("NoDeliveryYet", NONE, None, False),
        ("NoDeliveryYet", FRESH, None, True),
        ("NoDeliveryYet", REFUSED_ALWAYS, None, True),
        ("Proven", FRESH, QUIET, False),
        ("Proven", REFUSED, QUIET, True),
        ("Proven", REFUSED_ONCE, QUIET, False),
        ("Silent", SILENT, SILENT, False),
        ("Silent", FRESH, SILENT, True),
        ("SecretRefused", REFUSED, QUIET, False),
        ("SecretRefused", FRESH, REFUSED, True),
        ("SecretRefused", NONE, REFUSED, False),
        ("HookDisabled", FRESH, QUIET, True),
        ("HookDisabled", QUIET, QUIET, False),
        ("ReceiverUnreachable", FRESH, QUIET, True),
        ("ReceiverUnreachable", FRESH, None, False),
    ],
)
def test_what_is_news(before, feedback, seen, news):
    assert is_news(Condition("Delivering", "True", before, "") if before else None, feedback, seen, NOW) is news


def test_tests_are_of_events_that_the_hook_is_for():
    attributes = {"push_events": False, "note_events": True, "issues_events": True, "deployment_events": True}
    assert triggers(attributes) == ["issues_events", "note_events"]
    assert triggers(attributes, impossible={"issues_events"}) == ["note_events"]


def test_who_is_alive():
    assert not anyone_alive([], NOW)
    assert not anyone_alive([ago(seconds=31)], NOW)
    assert anyone_alive([ago(seconds=31), ago(seconds=2)], NOW)


@pytest.mark.parametrize(
    ("time", "text"),
    [({"seconds": 20}, "0 min"), ({"minutes": 59}, "59 min"), ({"hours": 26, "minutes": 5}, "26 h 5 min")],
)
def test_how_long(time, text):
    assert lasted(NOW - timedelta(**time), NOW) == text


def test_a_condition_is_the_same_whenever_it_began():
    one = Condition("Delivering", "True", "Proven", "m")
    assert replace(one, since=NOW) == one
