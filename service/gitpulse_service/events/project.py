"""What every event family shares: where it happened, and how GitLab writes what it will not tell."""

from __future__ import annotations

from typing import Annotated

import msgspec

Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
"""A GitLab database id; a larger number fits no database and is no id."""

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


class ProjectEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The base of the events that happen in one project."""

    project: Project | None = None

    @property
    def gitlab_project_id(self) -> int | None:
        """The project's id on its GitLab, None where the body does not say."""
        return self.project.id if self.project else None
