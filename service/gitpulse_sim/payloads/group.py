"""What only group hooks carry: members, subgroups, projects. These families have no `object_kind`."""

from __future__ import annotations

from datetime import datetime

from gitpulse_sim.payloads.common import Data
from gitpulse_sim.people import Role, User
from gitpulse_sim.stamps import iso_offset
from gitpulse_sim.world import Group, Project


def member(group: Group, user: User, role: Role, event: str, at: datetime) -> Data:
    """`Member Hook`; `event` is `user_add_to_group`, `user_update_for_group`, `user_remove_from_group` ..."""
    return {
        "created_at": iso_offset(group.created_at),
        "updated_at": iso_offset(at),
        "group_name": group.name,
        "group_path": group.full_path,
        "group_id": group.id,
        "user_username": user.username,
        "user_name": user.name,
        "user_email": user.public_email or "[REDACTED]",
        "user_id": user.id,
        "group_access": role.name.capitalize(),
        "group_plan": None,
        "expires_at": None,
        "event_name": event,
    }


def subgroup(group: Group, event: str, at: datetime) -> Data:
    """`Subgroup Hook`; `event` is `subgroup_create` or `subgroup_destroy`."""
    parent = group.parent
    assert parent is not None, "a top-level group is nobody's subgroup"
    return {
        "created_at": iso_offset(group.created_at),
        "updated_at": iso_offset(at),
        "event_name": event,
        "name": group.name,
        "path": group.path,
        "full_path": group.full_path,
        "group_id": group.id,
        "parent_group_id": parent.id,
        "parent_name": parent.name,
        "parent_path": parent.path,
        "parent_full_path": parent.full_path,
    }


def project(subject: Project, event: str, at: datetime) -> Data:
    """`Project Hook`; `event` is `project_create` or `project_destroy`."""
    return {
        "event_name": event,
        "created_at": iso_offset(subject.created_at),
        "updated_at": iso_offset(at),
        "name": subject.name,
        "path": subject.path,
        "path_with_namespace": subject.full_path,
        "project_id": subject.id,
        "project_namespace_id": subject.group.id,
        "owners": [],
        "project_visibility": "private",
    }
