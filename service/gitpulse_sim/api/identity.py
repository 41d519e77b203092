"""Who is asking, and what this instance is: version, the own token, the own user, members."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call
from gitpulse_sim.api.door import route
from gitpulse_sim.api.pages import paged
from gitpulse_sim.payloads.common import avatar
from gitpulse_sim.people import User
from gitpulse_sim.world import Project


async def version(call: Call) -> Response:
    return JSONResponse({"version": call.world.instance.version, "revision": "5150000"})


async def metadata(call: Call) -> Response:
    instance = call.world.instance
    kas = {"enabled": False, "externalUrl": None, "version": None}
    return JSONResponse({"version": instance.version, "revision": "5150000", "kas": kas, "enterprise": True})


async def own_token(call: Call) -> Response:
    token, world = call.token, call.world
    return JSONResponse(
        {
            "id": token.id,
            "name": token.name,
            "revoked": token.revoked,
            "created_at": world.iso(token.created_at),
            "scopes": list(token.scopes),
            "user_id": token.user.id,
            "last_used_at": world.iso(world.clock.now()),
            "active": True,
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        }
    )


async def own_user(call: Call) -> Response:
    return JSONResponse(shown(call.user, call.world.url) | {"is_admin": call.user.admin, "email": call.user.email})


async def users(call: Call) -> Response:
    wanted = call.text("username")
    found = [user for user in call.world.users.values() if wanted in ("", user.username)]
    return paged(call, [shown(user, call.world.url) for user in found])


async def members(call: Call) -> Response:
    """Direct members; with `/all` those of the groups above too."""
    parent, world = call.parent(), call.world
    everybody = call.request.url.path.endswith("/all")
    above = parent.group.lineage() if isinstance(parent, Project) else parent.lineage()
    ids = set(parent.members).union(*(group.members for group in above)) if everybody else set(parent.members)
    found = [world.users[number] for number in sorted(ids)]
    return paged(call, [shown(user, world.url) | {"access_level": int(world.role(user, parent))} for user in found])


def shown(user: User, url: str) -> dict[str, object]:
    """A user as the API replies one."""
    return {
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "state": "active",
        "public_email": user.public_email,
        "avatar_url": avatar(user),
        "web_url": f"{url}/{user.username}",
    }


def routes() -> list[Route]:
    return [
        route("GET", "/version", version),
        route("GET", "/metadata", metadata),
        route("GET", "/personal_access_tokens/self", own_token),
        route("GET", "/user", own_user),
        route("GET", "/users", users),
        *(route("GET", f"/{kind}/{{id}}/members{every}", members) for kind in ("projects", "groups")
          for every in ("", "/all")),
    ]  # fmt: skip
