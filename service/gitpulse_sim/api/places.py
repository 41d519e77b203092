"""Groups and projects: what there is, and the few changes that group hooks hear of."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim.api.call import FORBIDDEN, Call, Refused, not_found
from gitpulse_sim.api.door import route
from gitpulse_sim.api.pages import paged
from gitpulse_sim.deliver import Event
from gitpulse_sim.payloads import group as group_payloads
from gitpulse_sim.people import Role
from gitpulse_sim.world import Group, Project, World


async def projects(call: Call) -> Response:
    """Those that this user can see."""
    wanted = call.text("search").lower()
    return paged(call, _projects(call, [p for p in call.world.projects.values() if wanted in p.full_path]))


async def group_projects(call: Call) -> Response:
    """A group's own; with `include_subgroups=true` all below it."""
    group, deep = call.group(), call.text("include_subgroups").lower() == "true"
    found = [p for p in call.world.projects.values() if group in (p.group.lineage() if deep else (p.group,))]
    return paged(call, _projects(call, found))


async def project(call: Call) -> Response:
    return JSONResponse(_project(call.project(), call.world))


async def groups(call: Call) -> Response:
    world = call.world
    return paged(call, [_group(g, world) for g in world.groups.values() if world.role(call.user, g)])


async def group(call: Call) -> Response:
    return JSONResponse(_group(call.group(), call.world))


async def subgroups(call: Call) -> Response:
    parent = call.group()
    return paged(call, [_group(g, call.world) for g in call.world.groups.values() if g.parent is parent])


async def create_project(call: Call) -> Response:
    """Needs `namespace_id`: users' own namespaces are not simulated."""
    parent = call.world.groups.get(call.whole("namespace_id"))
    if parent is None:
        raise Refused(400, {"error": "namespace_id is missing"})
    if call.world.role(call.user, parent) < Role.MAINTAINER:
        raise Refused(403, FORBIDDEN)
    name = call.text("name") or call.text("path")
    path = call.text("path") or name.lower().replace(" ", "-")
    if not path or call.world.find_project(f"{parent.full_path}/{path}"):
        raise Refused(400, {"message": {"path": ["has already been taken"]}})
    made = call.world.add_project(path, parent, name=name, description=call.text("description"))
    await _tell(call, parent, "project_events", group_payloads.project(made, "project_create", made.created_at))
    return JSONResponse(_project(made, call.world), 201)


async def delete_project(call: Call) -> Response:
    gone = call.project(Role.OWNER)
    del call.world.projects[gone.id]
    data = group_payloads.project(gone, "project_destroy", call.world.clock.now())
    await _tell(call, gone.group, "project_events", data)
    return JSONResponse({"message": "202 Accepted"}, 202)


async def create_subgroup(call: Call) -> Response:
    parent = call.world.groups.get(call.whole("parent_id"))
    if parent is None or call.world.role(call.user, parent) < Role.OWNER:
        raise Refused(403, FORBIDDEN)
    made = call.world.add_group(call.text("path"), call.text("name") or None, parent=parent)
    await _tell(call, parent, "subgroup_events", group_payloads.subgroup(made, "subgroup_create", made.created_at))
    return JSONResponse(_group(made, call.world), 201)


async def add_member(call: Call) -> Response:
    place = call.group(Role.OWNER)
    user = call.world.users.get(call.whole("user_id"))
    if user is None:
        raise not_found("User")
    if (level := call.whole("access_level", Role.DEVELOPER)) not in set(Role):
        raise Refused(400, {"error": "access_level does not have a valid value"})
    role = Role(level)
    place.members[user.id] = role
    data = group_payloads.member(place, user, role, "user_add_to_group", call.world.clock.now())
    await _tell(call, place, "member_events", data)
    return JSONResponse({"id": user.id, "username": user.username, "access_level": int(role)}, 201)


async def _tell(call: Call, place: Group, toggle: str, data: Mapping[str, object]) -> None:
    await call.forge.engine.emit(place, Event(toggle=toggle, data=data))


def _projects(call: Call, found: list[Project]) -> list[dict[str, object]]:
    return [_project(one, call.world) for one in found if call.world.role(call.user, one)]


def _project(one: Project, world: World) -> dict[str, object]:
    page = f"{world.url}/{one.full_path}"
    return {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "name_with_namespace": f"{one.group.name} / {one.name}",
        "path": one.path,
        "path_with_namespace": one.full_path,
        "created_at": world.iso(one.created_at),
        "last_activity_at": world.iso(one.created_at),
        "default_branch": one.default_branch,
        "empty_repo": one.repository.is_empty,
        "archived": False,
        "visibility": "private",
        "web_url": page,
        "http_url_to_repo": f"{page}.git",
        "avatar_url": None,
        "namespace": {
            "id": one.group.id,
            "name": one.group.name,
            "path": one.group.path,
            "kind": "group",
            "full_path": one.group.full_path,
            "parent_id": one.group.parent.id if one.group.parent else None,
        },
    }


def _group(one: Group, world: World) -> dict[str, object]:
    above = [place.name for place in one.lineage()]
    return {
        "id": one.id,
        "name": one.name,
        "path": one.path,
        "full_path": one.full_path,
        "full_name": " / ".join(reversed(above)),
        "parent_id": one.parent.id if one.parent else None,
        "visibility": "private",
        "created_at": world.iso(one.created_at),
        "web_url": f"{world.url}/groups/{one.full_path}",
    }


def routes() -> list[Route]:
    return [
        route("GET", "/projects", projects),
        route("POST", "/projects", create_project),
        route("GET", "/projects/{id}", project),
        route("DELETE", "/projects/{id}", delete_project),
        route("GET", "/groups", groups),
        route("POST", "/groups", create_subgroup),
        route("GET", "/groups/{id}", group),
        route("GET", "/groups/{id}/projects", group_projects),
        route("GET", "/groups/{id}/subgroups", subgroups),
        route("POST", "/groups/{id}/members", add_member),
    ]
