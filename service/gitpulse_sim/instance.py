"""What kind of GitLab this is: version, tier, limits and the switches for what could not be confirmed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gitpulse_sim.errors import BadRequest

Tier = Literal["free", "premium", "ultimate"]

SIGNING_TOKENS = (19, 0)
"""The version that brought signing tokens, `webhook-*` headers and the presence flags."""


@dataclass(slots=True, kw_only=True)
class Instance:
    """Settings of the whole instance. All may be changed while it runs; the defaults are those of Self-Managed."""

    version: str = "19.1.0"
    tier: Tier = "premium"
    """Group hooks need premium or ultimate."""
    time_zone: str = "UTC"
    """`gitlab_rails['time_zone']`: deliveries carry its offset."""

    auto_disabling: bool = False
    """The `auto_disabling_web_hooks` flag: on at GitLab.com, off by default on Self-Managed."""
    webhook_timeout: float = 10.0
    """Seconds. [unverified] that Self-Managed ships with GitLab.com's 10."""
    webhook_calls_per_minute: int = 0
    """Of each top-level namespace; 0: no limit."""
    push_event_hooks_limit: int = 3
    """A push that moves more refs fires no hook; 0: no push fires one."""
    project_hooks_limit: int = 100
    group_hooks_limit: int = 50
    manual_calls_per_minute: int = 5
    """Tests, and resends, of one parent by one user."""
    outbound_filter: bool = False
    """True: hook URLs with a local address are refused, and those that are there get nothing; GitLab's own default."""
    silent_mode: bool = False

    unlicensed_group_hooks_status: int = 404
    """[unverified] What a tier without group hooks answers: 404 or 403."""
    malformed_signing_token_status: int = 422
    """[unverified]"""
    url_change_clears_signing_token: bool = False
    """[unverified] A changed URL clears the plain token for certain."""
    confidential_note_header: str = "Confidential Note Hook"
    """[unverified] Derived from code; the documentation shows `Note Hook`."""
    manual_limit_retry_after: int | None = None
    """[unverified] Seconds in the Retry-After of a test's or resend's 429; older source sets none."""
    all_lists_kept_commits: bool = True
    """[unverified] Whether `all=true` also lists what no branch or tag holds, but a merge request or pipeline had."""
    follow_redirects: bool = False
    """[unverified] Whether GitLab goes where a 3xx points. A 3xx counts as success either way."""
    signature_clock_skew: float = 0.0
    """Seconds by which its clock is off, as `webhook-timestamp` and the `Date` of its answers tell it."""

    def check(self) -> None:
        """Raises BadRequest where a text is no version or no time zone."""
        _ = self.release, self.zone

    def at_least(self, major: int, minor: int) -> bool:
        return self.release >= (major, minor)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        if not (found := re.match(r"(\d+)\.(\d+)", self.version)):
            raise BadRequest(f"version: {self.version!r} is none; write it like 19.1.0")
        return int(found[1]), int(found[2])

    @property
    def zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.time_zone)  # which keeps those it has read
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadRequest(f"time_zone: {self.time_zone!r} is not known; write it like Europe/Berlin") from error

    @property
    def has_group_hooks(self) -> bool:
        return self.tier != "free"
