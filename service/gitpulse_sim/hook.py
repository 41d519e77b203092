"""One webhook: its attributes, what a write does to them, and when GitLab switches it off.

It does no IO; `deliver` sends, `api.hooks` parses requests.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from gitpulse_sim.hook_log import HookLog
from gitpulse_sim.instance import Instance
from gitpulse_sim.template import interpolate, placeholders

ParentKind = Literal["project", "group"]
AlertStatus = Literal["executable", "temporarily_disabled", "disabled"]


class Toggle(NamedTuple):
    """One kind of event that a hook may ask for."""

    trigger: str
    """GitLab's internal name, as the hook's log shows it."""
    header: str
    """`X-Gitlab-Event`."""
    since: tuple[int, int] = (0, 0)
    parents: tuple[ParentKind, ...] = ("project", "group")


TOGGLES = {
    "push_events": Toggle("push_hooks", "Push Hook"),
    "tag_push_events": Toggle("tag_push_hooks", "Tag Push Hook"),
    "issues_events": Toggle("issue_hooks", "Issue Hook"),
    "confidential_issues_events": Toggle("confidential_issue_hooks", "Confidential Issue Hook"),
    "note_events": Toggle("note_hooks", "Note Hook"),
    "confidential_note_events": Toggle("confidential_note_hooks", "Confidential Note Hook"),
    "merge_requests_events": Toggle("merge_request_hooks", "Merge Request Hook"),
    "job_events": Toggle("job_hooks", "Job Hook"),
    "pipeline_events": Toggle("pipeline_hooks", "Pipeline Hook"),
    "wiki_page_events": Toggle("wiki_page_hooks", "Wiki Page Hook"),
    "deployment_events": Toggle("deployment_hooks", "Deployment Hook"),
    "feature_flag_events": Toggle("feature_flag_hooks", "Feature Flag Hook"),
    "releases_events": Toggle("release_hooks", "Release Hook"),
    "milestone_events": Toggle("milestone_hooks", "Milestone Hook", (18, 2)),
    "emoji_events": Toggle("emoji_hooks", "Emoji Hook"),
    "resource_access_token_events": Toggle("resource_access_token_hooks", "Resource Access Token Hook"),
    "resource_deploy_token_events": Toggle(
        "resource_deploy_token_hooks", "Resource Deploy Token Hook", (19, 0), ("project",)
    ),
    "vulnerability_events": Toggle("vulnerability_hooks", "Vulnerability Hook", (17, 7)),
    "member_events": Toggle("member_hooks", "Member Hook", parents=("group",)),
    "subgroup_events": Toggle("subgroup_hooks", "Subgroup Hook", parents=("group",)),
    "project_events": Toggle("project_hooks", "Project Hook", (17, 6), ("group",)),
}

FAILURES_BEFORE_BACKOFF = 3
FAILURES_UNTIL_DISABLED = 40
BRANCH_FILTER_STRATEGIES = ("wildcard", "regex", "all_branches")


def toggles_of(parent: ParentKind, instance: Instance) -> dict[str, Toggle]:
    """The events that a hook of such a parent can be asked for in this version."""
    return {
        name: toggle
        for name, toggle in TOGGLES.items()
        if parent in toggle.parents and instance.at_least(*toggle.since)
    }


@dataclass(slots=True, kw_only=True)
class Hook:
    """A project's or a group's hook, with the secrets that no reply shows."""

    id: int
    parent_kind: ParentKind
    parent_id: int
    created_at: datetime
    url: str
    name: str | None = None
    description: str | None = None
    enable_ssl_verification: bool = True
    events: set[str] = field(default_factory=lambda: {"push_events"})
    push_events_branch_filter: str | None = None
    branch_filter_strategy: str = "wildcard"
    custom_webhook_template: str | None = None
    token: str | None = field(default=None, repr=False)
    signing_token: str | None = field(default=None, repr=False)
    custom_headers: dict[str, str] = field(default_factory=dict, repr=False)
    url_variables: dict[str, str] = field(default_factory=dict, repr=False)

    recent_failures: int = 0
    disabled_until: datetime | None = None
    log: HookLog = field(default_factory=HookLog, repr=False)
    dropped: Counter[str] = field(default_factory=Counter)
    """Events that were never sent, by reason. GitLab keeps no trace of them; tests want to know."""

    @property
    def target(self) -> str:
        """The URL that is called."""
        return interpolate(self.url, self.url_variables)

    def alert_status(self, instance: Instance, now: datetime) -> AlertStatus:
        if not instance.auto_disabling or self.recent_failures <= FAILURES_BEFORE_BACKOFF:
            return "executable"
        if self.recent_failures >= FAILURES_UNTIL_DISABLED:
            return "disabled"
        return "temporarily_disabled" if self.disabled_until and self.disabled_until > now else "executable"

    def succeeded(self) -> None:
        self.recent_failures, self.disabled_until = 0, None

    def failed(self, instance: Instance, now: datetime, *, status: int | None = None) -> None:
        """Counts a failed delivery; one of a hook that is switched off (a forced test) changes nothing."""
        if self.alert_status(instance, now) != "executable":
            return
        self.recent_failures = min(self.recent_failures + 1, FAILURES_UNTIL_DISABLED)
        over = self.recent_failures - FAILURES_BEFORE_BACKOFF
        if over < 1:
            return
        if not instance.at_least(17, 11) and status is not None and 400 <= status < 500:
            self.recent_failures = FAILURES_UNTIL_DISABLED  # before 17.11 the fourth 4xx was final
        self.disabled_until = now + backoff(over)

    def wants_branch(self, branch: str) -> bool:
        """Whether a push to this branch passes the filter; it applies to pushes only."""
        wanted = self.push_events_branch_filter
        if not wanted or self.branch_filter_strategy == "all_branches":
            return True
        if self.branch_filter_strategy == "regex":  # GitLab speaks RE2; Python's is close enough
            return re.search(wanted, branch) is not None
        return re.fullmatch(".*".join(re.escape(part) for part in wanted.split("*")), branch) is not None

    def reset_after(self, before: Hook, *, token_sent: bool, signing_token_sent: bool, instance: Instance) -> None:
        """Takes away from a changed hook what GitLab does not let survive a changed URL; runs before validation."""
        if self.url != before.url:
            if not token_sent:
                self.token = None
            if instance.url_change_clears_signing_token and not signing_token_sent:
                self.signing_token = None
            if self.url_variables == before.url_variables:
                self.url_variables = {}  # re-used under a changed URL
        if self.target != before.target:
            self.custom_headers = {}  # even those that the same request sets
        if self.branch_filter_strategy == "all_branches":
            self.push_events_branch_filter = None

    def adopt(self, draft: Hook) -> None:
        """Takes over what a request may write. Counters and log stay: a PUT does not revive a hook."""
        for name in WRITABLE:
            setattr(self, name, getattr(draft, name))


WRITABLE = (
    "url", "name", "description", "enable_ssl_verification", "events", "push_events_branch_filter",
    "branch_filter_strategy", "custom_webhook_template", "token", "signing_token", "custom_headers", "url_variables",
)  # fmt: skip


def backoff(over: int) -> timedelta:
    """How long the n-th failure beyond the third switches a hook off: 1 minute, doubling, at most a day."""
    return min(timedelta(minutes=2 ** (over - 1)), timedelta(hours=24))


def acceptable_url(draft: Hook, instance: Instance) -> bool:
    """Whether GitLab takes this URL: http or https, no unknown placeholder, past the outbound filter.

    GitLab also looks the host's name up; the simulator judges the name alone.
    """
    if placeholders(draft.url) - draft.url_variables.keys():
        return False
    try:
        parts = urlsplit(draft.target)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", draft.target):
        return False
    return not (instance.outbound_filter and _is_local(host))


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_private or address.is_loopback or address.is_unspecified
