"""Create, read, change and delete hooks, of projects and groups alike."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial

from starlette.responses import Response
from starlette.routing import Route

from gitpulse_sim.api.call import FORBIDDEN, Call, Refused, created, not_found
from gitpulse_sim.api.door import route
from gitpulse_sim.api.hook_fields import check, pair, shown, write
from gitpulse_sim.frame import Data
from gitpulse_sim.hook import Hook
from gitpulse_sim.people import Role
from gitpulse_sim.world import Group, Parent


def hook_parent(call: Call) -> Parent:
    """The project or group whose hooks are asked for, if this user may manage them and the tier has such."""
    if "/groups/" not in call.request.url.path:
        return call.project(Role.MAINTAINER)
    group = call.group(Role.OWNER)
    status = call.world.instance.unlicensed_group_hooks_status
    if not call.world.instance.has_group_hooks:
        raise not_found() if status == 404 else Refused(status, FORBIDDEN)
    return group


def hook_of(call: Call) -> Hook:
    """The hook of the path."""
    if hook := hook_parent(call).hooks.get(call.number("hook_id")):
        return hook
    raise not_found()


def index(call: Call) -> list[Data]:
    return [shown(call, hook, in_list=True) for hook in hook_parent(call).hooks.values()]


def create(call: Call) -> Response:
    parent, world = hook_parent(call), call.world
    if "url" not in call.params:
        raise Refused(400, {"error": "url is missing"})
    hook = Hook(id=0, parent_kind=parent.kind, parent_id=parent.id, created_at=world.clock.now(), url="")
    write(hook, call.params, world.instance, creating=True)
    check(hook, world.instance)
    limit = world.instance.group_hooks_limit if isinstance(parent, Group) else world.instance.project_hooks_limit
    if len(parent.hooks) >= limit:
        raise Refused(422, {"error": f"Maximum number of {parent.kind} hooks ({limit}) exceeded"})
    hook.id = world.next_id("hook")
    parent.hooks[hook.id] = hook
    return created(shown(call, hook))


def edit(call: Call) -> Data:
    hook = hook_of(call)
    if not call.params:
        raise Refused(400, {"error": "No parameters provided"})
    _change(call, hook, lambda draft: write(draft, call.params, call.world.instance, creating=False))
    return shown(call, hook)


def delete(call: Call) -> None:
    del hook_parent(call).hooks[hook_of(call).id]


PAIRS = {"custom_headers": "Custom header", "url_variables": "URL variable"}
"""The attributes that are pairs of key and value, and what GitLab calls one of them."""


def set_pair(name: str, call: Call) -> None:
    hook = hook_of(call)
    key, value = pair(call.path("key"), call.params.get("value"))
    _change(call, hook, lambda draft: setattr(draft, name, getattr(hook, name) | {key: value}))


def drop_pair(name: str, call: Call) -> None:
    hook, key = hook_of(call), call.path("key")
    pairs: dict[str, str] = getattr(hook, name)
    if key not in pairs:
        raise not_found(PAIRS[name])
    left = {other: value for other, value in pairs.items() if other != key}
    _change(call, hook, lambda draft: setattr(draft, name, left))


def _change(call: Call, hook: Hook, rewrite: Callable[[Hook], None]) -> None:
    """Writes, resets, validates, and only then changes the hook."""
    draft = copy(hook)
    rewrite(draft)
    draft.reset_after(hook, sent=call.params.keys(), instance=call.world.instance)
    check(draft, call.world.instance)
    hook.adopt(draft)


def routes(base: str) -> list[Route]:
    """`base` is `/projects/{id}` or `/groups/{id}`."""
    one = f"{base}/hooks/{{hook_id}}"
    found = [
        route("GET", f"{base}/hooks", index),
        route("POST", f"{base}/hooks", create),
        route("GET", one, lambda call: shown(call, hook_of(call))),
        route("PUT", one, edit),
        route("DELETE", one, delete),
    ]
    for name in PAIRS:
        found += [
            route("PUT", f"{one}/{name}/{{key}}", partial(set_pair, name)),
            route("DELETE", f"{one}/{name}/{{key}}", partial(drop_pair, name)),
        ]
    return found
