"""Kinds of events as a GitPulseProject names them, and the attributes of a GitLab hook that switch them on.

Source: https://docs.gitlab.com/api/project_webhooks/ and https://docs.gitlab.com/api/group_webhooks/
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

ParentKind = Literal["Project", "Group"]

TOGGLES = {
    "Push": "push_events",
    "TagPush": "tag_push_events",
    "MergeRequest": "merge_requests_events",
    "Note": "note_events",
    "ConfidentialNote": "confidential_note_events",
    "Issue": "issues_events",
    "ConfidentialIssue": "confidential_issues_events",
    "Pipeline": "pipeline_events",
    "Job": "job_events",
    "Deployment": "deployment_events",
    "Release": "releases_events",
    "Milestone": "milestone_events",
    "WikiPage": "wiki_page_events",
    "FeatureFlag": "feature_flag_events",
    "Emoji": "emoji_events",
    "ResourceAccessToken": "resource_access_token_events",
    "Vulnerability": "vulnerability_events",
    "Member": "member_events",
    "Subgroup": "subgroup_events",
    "Project": "project_events",
}
GROUP_ONLY = frozenset({"Member", "Subgroup", "Project"})
"""Events that only a group's hook sends."""

NEVER_WANTED = ("resource_deploy_token_events",)
"""Toggles that a hook may show and that no kind of ours stands for: someone else switched them on."""


def toggles(events: Collection[str], kind: ParentKind) -> dict[str, bool]:
    """What every toggle of a hook there must be: those of `events` on, all the others off."""
    wanted = {
        attribute: event in events for event, attribute in TOGGLES.items() if kind == "Group" or event not in GROUP_ONLY
    }
    return wanted | dict.fromkeys(NEVER_WANTED, False)
