"""Switching a hook on again that GitLab has switched off: by a test delivery that is answered well.

https://docs.gitlab.com/user/project/integrations/webhooks/#auto-disabled-webhooks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from gitpulse_operator.domain.hooks import Attribute

TESTABLE = (
    "push_events",
    "merge_requests_events",
    "issues_events",
    "note_events",
    "pipeline_events",
    "tag_push_events",
    "job_events",
    "releases_events",
    "confidential_issues_events",
    "milestone_events",
    "wiki_page_events",
    "emoji_events",
    "resource_access_token_events",
)
"""Events that GitLab can make a test of, those first for which a project most likely has data."""

ALIVE_WITHIN = timedelta(seconds=30)
"""A receiver acknowledges the directory each second; one that has not for so long is gone, or cut off from Redis."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a delivery that GitLab was asked for."""

    result: Literal["delivered", "failed", "impossible"]
    """`failed`: it was sent, and not answered well. `impossible`: GitLab could not even make it."""
    said: str = ""
    """Why, in GitLab's words."""


def triggers(attributes: Mapping[str, Attribute], *, impossible: Iterable[str] = ()) -> list[str]:
    """The events to try a test with, in this order: what the hook is for, but for those that were impossible before."""
    return [name for name in TESTABLE if attributes.get(name) is True and name not in impossible]


def anyone_alive(acknowledged: Iterable[int], now: datetime) -> bool:
    """Whether a receiver is there, by when each last acknowledged the directory (Unix milliseconds)."""
    return any(now.timestamp() * 1000 - moment < ALIVE_WITHIN / timedelta(milliseconds=1) for moment in acknowledged)


def lasted(since: datetime, now: datetime) -> str:
    """How long something went on, for people: `3 h 20 min`."""
    minutes = max(0, round((now - since) / timedelta(minutes=1)))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
