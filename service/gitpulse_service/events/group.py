"""Events of a group's hook about the group itself: its members, subgroups and projects.

No number is made of them. They name accounts, and tell the operator that there is something to look at.
"""

from __future__ import annotations

from gitpulse_service.events.project import UserEvent

HEADERS = frozenset({"Member Hook", "Subgroup Hook", "Project Hook"})
"""`X-Gitlab-Event` of these families."""


class GroupChange(UserEvent, frozen=True, gc=False, kw_only=True):
    """Somebody joined, changed role or left (`user_…`); a subgroup or project was made or removed."""

    event_name: str

    @property
    def gitlab_project_id(self) -> None:
        """Nothing happened in a project."""
