"""Events of a group's hook about the group itself: its members, subgroups and projects.

No number is made of them. They name accounts, and tell the operator that there is something to look at.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitpulse_service.events.project import Id, ProjectEvent, User

HEADERS = frozenset({"Member Hook", "Subgroup Hook", "Project Hook"})
"""`X-Gitlab-Event` of these families."""


class GroupChange(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """Somebody joined, changed role or left (`user_…`); a subgroup or project was made or removed."""

    event_name: str
    user_id: Id | None = None
    user_name: str | None = None
    user_username: str | None = None
    user_email: str | None = None

    @property
    def gitlab_project_id(self) -> None:
        """Nothing happened in a project."""

    @property
    def users(self) -> Iterator[User]:
        """The member."""
        yield User(self.user_id, self.user_name, self.user_username, self.user_email)
