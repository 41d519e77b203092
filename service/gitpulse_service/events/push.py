"""Push and tag push events: what moved, and the commits that came with it. https://docs.gitlab.com/user/project/integrations/webhook_events/"""

from __future__ import annotations

from typing import Annotated

import msgspec

from gitpulse_service.events.project import UserEvent, known
from gitpulse_service.events.timestamps import Timestamp

Sha = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
"""A commit's name: 40 or 64 hex digits from GitLab; whoever tries us by hand may send `abc123`."""

_EMPTY_PROJECT_SAMPLE = ("95790bf891e76fee5e1747ab589903a6a1f80f22", "da1560886d4f094c3e6c9ef40349f7d38b5d27d7")
"""`before` and `after` of the invented push that GitLab sends as the test of an empty project: another project's id,
another instance's URL. Constant since it was written (lib/gitlab/data_builder/push.rb)."""
_NO_OPTIONS = {b"", b"{}", b"null"}


class Author(msgspec.Struct, frozen=True, gc=False):
    """A commit's author as git has it, or redacted."""

    name: str | None = None
    email: str | None = None


class Commit(msgspec.Struct, frozen=True, gc=False):
    """One commit of a push; GitLab lists the newest 20, oldest first."""

    id: Sha
    timestamp: Timestamp | None = None
    author: Author | None = None
    added: tuple[str, ...] | None = None
    modified: tuple[str, ...] | None = None
    removed: tuple[str, ...] | None = None
    """Paths, against the first parent; None: not told."""

    @property
    def author_name(self) -> str | None:
        """None where unknown or redacted."""
        return known(self.author.name) if self.author else None

    @property
    def author_email(self) -> str | None:
        """None where unknown or redacted."""
        return known(self.author.email) if self.author else None


Commits = Annotated[tuple[Commit, ...], msgspec.Meta(max_length=10_000)]
"""GitLab lists 20. A million, which fit into a body, would keep a database busy for longer than one statement may."""


class Push(UserEvent, frozen=True, gc=False, kw_only=True):
    """A branch or tag that moved, was created (`before` is zeros) or deleted (`after` is zeros)."""

    ref: str | None = None
    before: str | None = None
    after: str | None = None
    commits: Commits | None = ()
    total_commits_count: int | None = None
    """How many there are, those that are not listed too."""
    push_options: msgspec.Raw = msgspec.Raw()
    """What was given with `git push -o`; `ci.variable` may be a secret."""

    @property
    def has_secrets(self) -> bool:
        """Whether it came with options."""
        return bytes(self.push_options) not in _NO_OPTIONS

    @property
    def is_sample(self) -> bool:
        """Whether this is a test delivery about real commits: nobody pushed.

        GitLab makes it of the project's last three commits, with the oldest of them as `before`. A real push never
        lists the commit that it started from.
        """
        return any(commit.id == self.before for commit in self.commits or ())

    @property
    def is_invented(self) -> bool:
        """Whether this is the test delivery of an empty project, in which nothing is true."""
        return (self.before, self.after) == _EMPTY_PROJECT_SAMPLE

    @property
    def lists_all(self) -> bool:
        """Whether all its commits are listed, each with its author's e-mail."""
        listed = self.commits or ()
        return (self.total_commits_count or 0) <= len(listed) and all(commit.author_email for commit in listed)
