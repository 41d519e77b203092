"""What every event family shares: where it happened, who did it, and how GitLab writes what it will not tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
"""A GitLab database id; a larger number fits no database and is no id."""
Seconds = Annotated[float, msgspec.Meta(gt=-(2**31), lt=2**31)]
"""How long something took; what a column holds."""

REDACTED = "[REDACTED]"
"""What GitLab's hook log, and so a resent delivery, holds in place of any text that is an e-mail address."""


def known(text: str | None) -> str | None:
    """The text, or None where GitLab left it out or redacted it."""
    return None if text is None or text in {"", REDACTED} else text


class Project(msgspec.Struct, frozen=True, gc=False):
    """A project as an event describes it; `id` alone identifies it, the rest changes with renames and moves."""

    id: Id | None = None
    name: str | None = None
    path_with_namespace: str | None = None
    web_url: str | None = None
    default_branch: str | None = None


class User(msgspec.Struct, frozen=True, gc=False):
    """An account as an event describes it; older GitLabs do not tell its id."""

    id: Id | None = None
    name: str | None = None
    username: str | None = None
    email: str | None = None
    """The public one; mostly redacted."""


class ProjectEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The base of the events that happen in one project."""

    project: Project | None = None
    project_id: Id | None = None
    user: User | None = None
    """Who did it."""
    assignees: tuple[User, ...] | None = ()
    reviewers: tuple[User, ...] | None = ()

    @property
    def gitlab_project_id(self) -> int | None:
        """The project's id on its GitLab, None where the body does not say."""
        return (self.project.id if self.project else None) or self.project_id

    @property
    def who(self) -> int | None:
        """The id of the account that did it, None where the body does not say."""
        return self.user.id if self.user else None

    @property
    def users(self) -> Iterator[User]:
        """Every account that is described."""
        yield from (*((self.user,) if self.user else ()), *(self.assignees or ()), *(self.reviewers or ()))

    @property
    def has_secrets(self) -> bool:
        """Whether the body holds values that are never kept; see `privacy.without_secrets`."""
        return False


class UserEvent(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """One that names its account in fields of its own."""

    user_id: Id | None = None
    user_name: str | None = None
    user_username: str | None = None
    user_email: str | None = None

    @property
    def who(self) -> int | None:
        """The id of that account."""
        return self.user_id

    @property
    def users(self) -> Iterator[User]:
        """That account."""
        yield User(self.user_id, self.user_name, self.user_username, self.user_email)
