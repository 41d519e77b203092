"""What only group hooks hear of: members, subgroups, projects. These families have no `object_kind`."""

from __future__ import annotations

from gitpulse_sim.clock import iso_offset
from gitpulse_sim.forge import Forge
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.people import Role, User
from gitpulse_sim.world import Group, Project

_FRAME = Frame(url="", stamp=iso_offset, shapes={})


async def add_member(forge: Forge, group: Group, user: User, role: Role) -> None:
    """Gives somebody a role, or another one; NONE takes it away."""
    known = user.id in group.members
    event = "user_remove_from_group" if not role else "user_update_for_group" if known else "user_add_to_group"
    group.members[user.id] = role
    if not role:
        del group.members[user.id]
    data = _FRAME.fields(group, "created_at group_name=name group_path=full_path group_id=id") | {
        **_FRAME.fields(user, "user_username=username user_name=name user_email=shown_email user_id=id"),
        "group_access": role.name.capitalize(),
        "group_plan": None,
        "expires_at": None,
    }
    await _tell(forge, group, "member_events", event, data)


async def add_subgroup(forge: Forge, parent: Group, path: str) -> Group:
    made = forge.world.add_group(path, parent=parent)
    await _tell(forge, parent, "subgroup_events", "subgroup_create", _subgroup(made))
    return made


async def remove_subgroup(forge: Forge, group: Group) -> None:
    """One without projects."""
    assert group.parent
    del forge.world.groups[group.id]
    await _tell(forge, group.parent, "subgroup_events", "subgroup_destroy", _subgroup(group))


async def add_project(forge: Forge, group: Group, path: str) -> Project:
    made = forge.world.add_project(path, group)
    await _tell(forge, group, "project_events", "project_create", _project(made))
    return made


async def remove_project(forge: Forge, project: Project) -> None:
    del forge.world.projects[project.id]
    await _tell(forge, project.group, "project_events", "project_destroy", _project(project))


def _subgroup(subject: Group) -> Data:
    above = (
        "parent_group_id=parent.id parent_name=parent.name parent_path=parent.path parent_full_path=parent.full_path"
    )
    return _FRAME.fields(subject, f"created_at name path full_path group_id=id {above}")


def _project(subject: Project) -> Data:
    table = "created_at name path path_with_namespace=full_path project_id=id project_namespace_id=group.id"
    return _FRAME.fields(subject, table) | {"owners": [], "project_visibility": "private"}


async def _tell(forge: Forge, group: Group, toggle: str, event: str, data: Data) -> None:
    now = iso_offset(forge.world.clock.now())
    await forge.tell(group, toggle, data | {"event_name": event, "updated_at": now})
