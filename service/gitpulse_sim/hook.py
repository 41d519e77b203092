"""One webhook: its attributes, what a write does to them, and when GitLab switches it off.

It does no IO; `deliver` sends, `api.hooks` parses requests.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from gitpulse_sim.hook_log import HookLog
from gitpulse_sim.instance import Instance
from gitpulse_sim.template import interpolate, placeholders

ParentKind = Literal["project", "group"]
AlertStatus = Literal["executable", "temporarily_disabled", "disabled"]


@dataclass(frozen=True, slots=True)
class Toggle:
    """One kind of event that a hook may ask for, by the attribute of that name."""

    name: str
    since: tuple[int, int] = (0, 0)
    parents: tuple[ParentKind, ...] = ("project", "group")

    @property
    def trigger(self) -> str:
        """GitLab's internal name, as the hook's log shows it: `push_hooks`, and for `issues_events` `issue_hooks`."""
        return self.name.removesuffix("_events").removesuffix("s") + "_hooks"

    @property
    def header(self) -> str:
        """`X-Gitlab-Event`: the same in words, of one."""
        return self.trigger.removesuffix("s").replace("_", " ").title()


_EVERYWHERE = (
    "push_events", "tag_push_events", "issues_events", "confidential_issues_events", "note_events",
    "confidential_note_events", "merge_requests_events", "job_events", "pipeline_events", "wiki_page_events",
    "deployment_events", "feature_flag_events", "releases_events", "emoji_events", "resource_access_token_events",
)  # fmt: skip
_SOMEWHERE = (
    Toggle("milestone_events", (18, 2)),
    Toggle("resource_deploy_token_events", (19, 0), ("project",)),
    Toggle("vulnerability_events", (17, 7)),
    Toggle("member_events", parents=("group",)),
    Toggle("subgroup_events", parents=("group",)),
    Toggle("project_events", (17, 6), ("group",)),
)
TOGGLES = {toggle.name: toggle for toggle in (*map(Toggle, _EVERYWHERE), *_SOMEWHERE)}

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

    def reset_after(self, before: Hook, *, sent: Collection[str], instance: Instance) -> None:
        """Takes away from a changed hook what GitLab does not let survive a changed URL; runs before validation.

        `sent` names the attributes that the request carried.
        """
        if self.url != before.url:
            if "token" not in sent:
                self.token = None
            if instance.url_change_clears_signing_token and "signing_token" not in sent:
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
    return not blocked(draft, instance)


def blocked(hook: Hook, instance: Instance) -> str:
    """GitLab's words where its outbound filter lets nothing through to this hook; empty: it does."""
    host = urlsplit(hook.target).hostname or ""
    if not instance.outbound_filter or not _is_local(host):
        return ""
    local = host.startswith("127.") or host in ("::1", "localhost")
    return f"URL is blocked: Requests to {'localhost' if local else 'the local network'} are not allowed"


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_private or address.is_loopback or address.is_unspecified
