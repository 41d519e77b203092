"""The instance, who is asking, groups and projects: all to be read."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import Route

from gitpulse_sim.api.call import Call
from gitpulse_sim.api.door import route
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.people import User
from gitpulse_sim.world import Group, Project


def user_row(frame: Frame, user: User | None) -> Data | None:
    """A user as the API replies one."""
    if user is None:
        return None
    more: Data = {"state": "active", "web_url": f"{frame.url}/{user.username}"}
    return frame.fields(user, "id username name public_email avatar_url=avatar") | more


def version(call: Call) -> Data:
    return {"version": call.world.instance.version, "revision": "5150000"}


def own_token(call: Call) -> Data:
    expires = call.token.expires_at
    return call.frame.fields(call.token, "id name revoked created_at user_id=user.id") | {
        "scopes": list(call.token.scopes),
        "last_used_at": call.frame.at(call.world.clock.now()),
        "active": True,
        "expires_at": expires.isoformat() if expires else None,
    }


def own_user(call: Call) -> Data:
    return (user_row(call.frame, call.user) or {}) | call.frame.fields(call.user, "email")


def group_projects(call: Call) -> list[Data]:
    """A group's own; with `include_subgroups=true` all below it."""
    group, deep = call.group(), call.flag("include_subgroups")
    found = [p for p in call.world.projects.values() if (group in p.lineage() if deep else group is p.group)]
    return _projects(call, found)


def groups(call: Call) -> list[Data]:
    return [_group(call.frame, one) for one in call.world.groups.values() if call.world.role(call.user, one)]


def _projects(call: Call, found: Iterable[Project]) -> list[Data]:
    """Those that this user can see."""
    return [_project(call.frame, one) for one in found if call.world.role(call.user, one)]


def _project(frame: Frame, one: Project) -> Data:
    table = (
        "id name description path path_with_namespace=full_path created_at last_activity_at=created_at default_branch"
    )
    return frame.fields(one, table) | {
        "name_with_namespace": f"{one.group.name} / {one.name}",
        "empty_repo": one.repository.is_empty,
        "archived": False,
        "visibility": "private",
        "web_url": frame.page(one),
        "http_url_to_repo": f"{frame.page(one)}.git",
        "namespace": _place(frame, one.group) | {"kind": "group"},
    }


def _place(frame: Frame, one: Group) -> Data:
    return frame.fields(one, "id name path full_path") | {"parent_id": one.parent.id if one.parent else None}


def _group(frame: Frame, one: Group) -> Data:
    return _place(frame, one) | {
        "full_name": " / ".join(reversed([place.name for place in one.lineage()])),
        "visibility": "private",
        "created_at": frame.at(one.created_at),
        "web_url": f"{frame.url}/groups/{one.full_path}",
    }


def routes() -> list[Route]:
    return [
        route("GET", "/version", version),
        route("GET", "/personal_access_tokens/self", own_token),
        route("GET", "/user", own_user),
        route("GET", "/projects", lambda call: _projects(call, call.world.projects.values())),
        route("GET", "/projects/{id}", lambda call: _project(call.frame, call.project())),
        route("GET", "/groups", groups),
        route("GET", "/groups/{id}", lambda call: _group(call.frame, call.group())),
        route("GET", "/groups/{id}/projects", group_projects),
    ]
