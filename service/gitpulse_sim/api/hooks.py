"""Create, read, change and delete hooks, of projects and groups alike."""

from __future__ import annotations

from copy import copy

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call, Refused, not_found
from gitpulse_sim.api.door import route
from gitpulse_sim.api.hook_fields import check, pair, shown, write
from gitpulse_sim.api.pages import paged
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
        raise not_found() if status == 404 else Refused(status, {"message": "403 Forbidden"})
    return group


def hook_of(call: Call) -> Hook:
    """The hook of the path."""
    if hook := hook_parent(call).hooks.get(call.number("hook_id")):
        return hook
    raise not_found()


async def index(call: Call) -> Response:
    hooks = hook_parent(call).hooks.values()
    return paged(call, [shown(hook, call.world, in_list=True) for hook in hooks])


async def read(call: Call) -> Response:
    return JSONResponse(shown(hook_of(call), call.world))


async def create(call: Call) -> Response:
    parent, world = hook_parent(call), call.world
    if "url" not in call.params:
        raise Refused(400, {"error": "url is missing"})
    hook = Hook(id=0, parent_kind=parent.kind, parent_id=parent.id, created_at=world.clock.now(), url="")
    write(hook, call.params, world.instance, creating=True)
    hook.url = hook.url or ""
    check(hook, world.instance)
    limit = world.instance.group_hooks_limit if isinstance(parent, Group) else world.instance.project_hooks_limit
    if len(parent.hooks) >= limit:
        raise Refused(422, {"error": f"Maximum number of {parent.kind} hooks ({limit}) exceeded"})
    hook.id = world.next_id("hook")
    parent.hooks[hook.id] = hook
    return JSONResponse(shown(hook, world), 201)


async def edit(call: Call) -> Response:
    hook, instance = hook_of(call), call.world.instance
    if not call.params:
        raise Refused(400, {"error": "No parameters provided"})
    draft = copy(hook)
    write(draft, call.params, instance, creating=False)
    _settle(hook, draft, call)
    return JSONResponse(shown(hook, call.world))


async def delete(call: Call) -> Response:
    hook = hook_of(call)
    del hook_parent(call).hooks[hook.id]
    return Response(status_code=204)


async def set_header(call: Call) -> Response:
    hook = hook_of(call)
    key, value = pair(call.path("key"), call.params.get("value"))
    hook.custom_headers = hook.custom_headers | {key: value}
    return Response(status_code=204)


async def drop_header(call: Call) -> Response:
    hook, key = hook_of(call), call.path("key")
    if key not in hook.custom_headers:
        raise not_found("Custom header")
    hook.custom_headers = {name: value for name, value in hook.custom_headers.items() if name != key}
    return Response(status_code=204)


async def set_variable(call: Call) -> Response:
    hook = hook_of(call)
    key, value = pair(call.path("key"), call.params.get("value"))
    draft = copy(hook)
    draft.url_variables = hook.url_variables | {key: value}
    _settle(hook, draft, call)
    return Response(status_code=204)


async def drop_variable(call: Call) -> Response:
    hook, key = hook_of(call), call.path("key")
    if key not in hook.url_variables:
        raise not_found("URL variable")
    draft = copy(hook)
    draft.url_variables = {name: value for name, value in hook.url_variables.items() if name != key}
    _settle(hook, draft, call)
    return Response(status_code=204)


def _settle(hook: Hook, draft: Hook, call: Call) -> None:
    """Resets, validates, and only then changes the hook."""
    sent = call.params.keys()
    draft.reset_after(
        hook,
        token_sent="token" in sent,
        signing_token_sent="signing_token" in sent,
        instance=call.world.instance,
    )
    check(draft, call.world.instance)
    hook.adopt(draft)


def routes(base: str) -> list[Route]:
    """`base` is `/projects/{id}` or `/groups/{id}`."""
    one = f"{base}/hooks/{{hook_id}}"
    return [
        route("GET", f"{base}/hooks", index),
        route("POST", f"{base}/hooks", create),
        route("GET", one, read),
        route("PUT", one, edit),
        route("DELETE", one, delete),
        route("PUT", f"{one}/custom_headers/{{key}}", set_header),
        route("DELETE", f"{one}/custom_headers/{{key}}", drop_header),
        route("PUT", f"{one}/url_variables/{{key}}", set_variable),
        route("DELETE", f"{one}/url_variables/{{key}}", drop_variable),
    ]
