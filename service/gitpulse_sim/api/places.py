"""The instance, who is asking, groups to be read, and projects, which are also moved, archived and deleted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from operator import attrgetter

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim.api.call import FORBIDDEN, Call, Refused, created, not_found
from gitpulse_sim.api.door import paged, route
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.groups import remove_project
from gitpulse_sim.people import Role
from gitpulse_sim.world import Group, Project


def version(call: Call) -> Data:
    return {"version": call.world.instance.version, "revision": "5150000"}


def own_token(call: Call) -> Data:
    expires = call.token.expires_at
    return call.frame.fields(call.token, "id name revoked created_at user_id=user.id scopes active:true") | {
        "last_used_at": call.frame.shown(call.world.clock.now()),
        "expires_at": expires.isoformat() if expires else None,
    }


def own_user(call: Call) -> Data:
    return {**call.frame.shown(call.user), "email": call.user.email}


def group_projects(call: Call) -> Response:
    """A group's own; with `include_subgroups=true` all below it. None is shared: `with_shared` changes nothing."""
    group, deep = call.group(), call.flag("include_subgroups")
    return _projects(call, [g for g in call.world.groups.values() if g is group or (deep and group in g.lineage())])


def groups(call: Call) -> list[Data]:
    return [_group(call.frame, one) for one in call.world.groups.values() if call.world.role(call.user, one)]


def _projects(call: Call, places: Iterable[Group]) -> Response:
    """Those in these groups that this user can see. Roles are asked once a group: there may be 10,000 projects."""
    user, wanted = call.user, max(Role.GUEST, call.whole("min_access_level"))
    roles = {group: call.world.role(user, group) for group in places}
    found = [one for one in call.world.projects.values() if one.group in roles]
    found = [one for one in found if max(roles[one.group], one.members.get(user.id, Role.NONE)) >= wanted]
    if call.text("archived"):
        found = [one for one in found if one.archived is call.flag("archived")]
    order = call.text("order_by") if call.text("order_by") in ("id", "name", "path") else "created_at"
    found.sort(key=attrgetter(order, "id"), reverse=call.text("sort", "desc") == "desc")
    left_out = {"archived", "empty_repo", "visibility"} if call.flag("simple") else set()
    return paged(call, found, lambda one: {k: v for k, v in _project(call.frame, one).items() if k not in left_out})


def archive(archived: bool, call: Call) -> Response:
    project = call.project(Role.OWNER)
    project.archived = archived
    return created(_project(call.frame, project))


def transfer(call: Call) -> Data:
    """To another group where this user may make projects; of an archived project it is forbidden."""
    project, group = call.project(Role.OWNER), call.world.find_group(call.text("namespace"))
    if project.archived:
        raise Refused(403, FORBIDDEN)
    if group is None or call.world.role(call.user, group) < Role.MAINTAINER:
        raise not_found("Namespace")
    call.world.move(project, group=group)
    return _project(call.frame, project)


async def delete_project(call: Call) -> Response:
    """At once; GitLab may only mark it, and delete it days later."""
    await remove_project(call.forge, call.project(Role.OWNER))
    return JSONResponse({"message": "202 Accepted"}, 202)


def _project(frame: Frame, one: Project) -> Data:
    table = "id name description path path_with_namespace=full_path created_at last_activity_at default_branch "
    page = f"{frame.url}/{one.full_path}"
    return frame.fields(one, table + 'empty_repo=repository.is_empty archived visibility:"private"') | {
        "name_with_namespace": f"{one.group.name} / {one.name}",
        "web_url": page,
        "http_url_to_repo": f"{page}.git",
        "namespace": _place(frame, one.group) | {"kind": "group"},
    }


def _place(frame: Frame, one: Group) -> Data:
    return frame.fields(one, "id name path full_path") | {"parent_id": one.parent.id if one.parent else None}


def _group(frame: Frame, one: Group) -> Data:
    return _place(frame, one) | {
        **frame.fields(one, 'created_at visibility:"private"'),
        "full_name": " / ".join(reversed([place.name for place in one.lineage()])),
        "web_url": f"{frame.url}/groups/{one.full_path}",
    }


def routes() -> list[Route]:
    return [
        route("GET", "/version", version),
        route("GET", "/personal_access_tokens/self", own_token),
        route("GET", "/user", own_user),
        route("GET", "/projects", lambda call: _projects(call, call.world.groups.values())),
        route("GET", "/projects/{id}", lambda call: _project(call.frame, call.project())),
        route("DELETE", "/projects/{id}", delete_project),
        route("POST", "/projects/{id}/archive", partial(archive, True)),
        route("POST", "/projects/{id}/unarchive", partial(archive, False)),
        route("PUT", "/projects/{id}/transfer", transfer),
        route("GET", "/groups", groups),
        route("GET", "/groups/{id}", lambda call: _group(call.frame, call.group())),
        route("GET", "/groups/{id}/projects", group_projects),
    ]
