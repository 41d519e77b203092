"""What only group hooks carry: members, subgroups, projects. These families have no `object_kind`."""

from __future__ import annotations

from datetime import datetime

from gitpulse_sim.clock import iso_offset
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.people import Role, User
from gitpulse_sim.world import Group, Project

_FRAME = Frame(url="", stamp=iso_offset)


def member(group: Group, user: User, role: Role, event: str, at: datetime) -> Data:
    """`Member Hook`; `event` is `user_add_to_group`, `user_update_for_group`, `user_remove_from_group` ..."""
    return {
        **_FRAME.fields(group, "created_at group_name=name group_path=full_path group_id=id"),
        **_FRAME.fields(user, "user_username=username user_name=name user_email=shown_email user_id=id"),
        "updated_at": iso_offset(at),
        "group_access": role.name.capitalize(),
        "group_plan": None,
        "expires_at": None,
        "event_name": event,
    }


def subgroup(group: Group, event: str, at: datetime) -> Data:
    """`Subgroup Hook`; `event` is `subgroup_create` or `subgroup_destroy`."""
    above = (
        "parent_group_id=parent.id parent_name=parent.name parent_path=parent.path parent_full_path=parent.full_path"
    )
    own = _FRAME.fields(group, f"created_at name path full_path group_id=id {above}")
    return own | {"updated_at": iso_offset(at), "event_name": event}


def project(subject: Project, event: str, at: datetime) -> Data:
    """`Project Hook`; `event` is `project_create` or `project_destroy`."""
    own = _FRAME.fields(
        subject, "created_at name path path_with_namespace=full_path project_id=id project_namespace_id=group.id"
    )
    return own | {
        "updated_at": iso_offset(at),
        "event_name": event,
        "owners": [],
        "project_visibility": "private",
    }
