"""Push and tag push."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gitpulse_sim.frame import Data, InProject, project_data, repository_data
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit

COMMITS_SHOWN = 20
"""A push lists its newest 20 commits; `total_commits_count` is the true number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefChange:
    """A branch or tag that was created, moved or deleted; `before` or `after` is ZEROS at either end of its life."""

    ref: str
    before: str
    after: str
    commits: Sequence[Commit] = ()
    """The newest of them, oldest first."""
    total: int = 0
    checkout: str | None = None
    """The commit that is checked out; of an annotated tag not `after`."""
    message: str | None = None
    """An annotated tag's."""

    @property
    def is_tag(self) -> bool:
        return self.ref.startswith("refs/tags/")

    @property
    def branch(self) -> str | None:
        return None if self.is_tag else self.ref.removeprefix("refs/heads/")


def push(frame: InProject, user: User, change: RefChange) -> Data:
    """`Push Hook`, or `Tag Push Hook` for a tag."""
    kind = "tag_push" if change.is_tag else "push"
    shown = project_data(frame)
    addresses = {key: shown[key] for key in ("git_http_url", "git_ssh_url", "visibility_level")}
    return {
        "object_kind": kind,
        "event_name": kind,
        **frame.fields(change, "before after ref message total_commits_count=total"),
        "ref_protected": change.branch == frame.project.default_branch,
        "checkout_sha": None if change.after == ZEROS else change.checkout or change.after,
        **frame.fields(
            user, "user_id=id user_name=name user_username=username user_email=public_email user_avatar=avatar"
        ),
        "project_id": frame.project.id,
        "project": shown,
        "commits": [frame.shown(one) | frame.fields(one, "added modified removed") for one in change.commits],
        "push_options": {},
        "repository": repository_data(frame) | addresses,
    }


def sample() -> Data:
    """What a test delivery of an empty project carries: somebody else's project, with fixed numbers."""
    return msgspec.json.decode(_SAMPLE, type=dict[str, object])


_SAMPLE = """{
"object_kind": "push", "event_name": "push", "before": "95790bf891e76fee5e1747ab589903a6a1f80f22",
"after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "ref": "refs/heads/master",
"checkout_sha": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "message": "Hello World", "user_id": 4,
"user_name": "John Smith", "user_email": "john@example.com",
"user_avatar": "https://s.gravatar.com/avatar/d4c74594d841139328695756648b6bd6?s=80", "project_id": 15,
"project": {"id": 15, "name": "gitlab", "description": "", "web_url": "http://test.example.com/gitlab/gitlab",
"avatar_url": null, "git_ssh_url": "git@test.example.com:gitlab/gitlab.git",
"git_http_url": "http://test.example.com/gitlab/gitlab.git", "namespace": "gitlab", "visibility_level": 0,
"path_with_namespace": "gitlab/gitlab", "default_branch": "master"},
"commits": [{"id": "c5feabde2d8cd023215af4d2ceeb7a64839fc428", "message": "A sample commit",
"title": "A sample commit", "timestamp": "2013-05-13T18:18:08+00:00",
"url": "http://test.example.com/gitlab/gitlab/-/commit/c5feabde2d8cd023215af4d2ceeb7a64839fc428",
"author": {"name": "Test User", "email": "test@example.com"}}],
"total_commits_count": 1, "push_options": {"ci": {"skip": true}}}"""
