"""One API request: who asks, what they may see, and how a refusal is worded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gitpulse_sim.api.rows import REPLIES
from gitpulse_sim.clock import iso_milliseconds
from gitpulse_sim.forge import Forge
from gitpulse_sim.frame import Frame, InProject
from gitpulse_sim.people import AccessToken, Role, User
from gitpulse_sim.world import Group, P, Project

READING_SCOPES = {"api", "read_api"}


class Refused(Exception):
    """An answer that ends a request; its body is what GitLab words."""

    def __init__(self, status: int, body: Mapping[str, object] | str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.response = (PlainTextResponse if isinstance(body, str) else JSONResponse)(body, status, headers)


def not_found(what: str = "") -> Refused:
    return Refused(404, {"message": f"404 {what} Not Found" if what else "404 Not found"})


FORBIDDEN = {"message": "403 Forbidden"}


class Call:
    """A request with its token checked. Parameters come from the query and from a JSON or form body."""

    def __init__(self, request: Request, forge: Forge, token: AccessToken, params: Mapping[str, object]) -> None:
        self.request = request
        self.forge = forge
        self.world = forge.world
        self.token = token
        self.params = params
        self.frame = Frame(url=forge.world.url, stamp=iso_milliseconds, shapes=REPLIES)

    @property
    def user(self) -> User:
        return self.token.user

    def frame_of(self, project: Project) -> InProject:
        """In which what is in a project is written."""
        return InProject(url=self.frame.url, stamp=self.frame.stamp, shapes=self.frame.shapes, project=project)

    def path(self, name: str) -> str:
        """A part of the path, its percent signs decoded."""
        return unquote(self.request.path_params[name])

    def number(self, name: str) -> int:
        """A part of the path that must be a number."""
        return _whole(name, self.path(name))

    def text(self, name: str, default: str = "") -> str:
        value = self.params.get(name)
        return default if value is None else str(value)

    def whole(self, name: str) -> int:
        """A parameter that must be a number."""
        return _whole(name, self.text(name, "0"))

    def flag(self, name: str) -> bool:
        return self.text(name).lower() == "true"

    def page(self, largest: int = 100) -> tuple[int, int]:
        """Which page is asked for, and of how many rows."""
        return self.whole("page") or 1, min(self.whole("per_page") or 20, largest)

    def project(self, role: Role = Role.GUEST) -> Project:
        """The project of the path. Invisible is 404, a role too weak is 403; a path it once had leads to its number."""
        named = self.path("id")
        found = self._admit(self.world.find_project(named), role, "Project")
        if named.isdigit() or found.full_path == named:
            return found
        if self.request.method != "GET":
            raise Refused(405, {"message": "Non GET methods are not allowed for moved projects"})
        asked, sent = self.request.url, self.request.path_params["id"]
        url = f"{self.world.url}{asked.path}?{asked.query}".replace(sent, str(found.id), 1).rstrip("?")
        raise Refused(301, f"This resource has been moved permanently to {url}.", {"Location": url})

    def group(self, role: Role = Role.GUEST) -> Group:
        return self._admit(self.world.find_group(self.path("id")), role, "Group")

    def _admit(self, found: P | None, role: Role, what: str) -> P:
        if found is None or not (held := self.world.role(self.user, found)):
            raise not_found(what)
        if held < role:
            raise Refused(403, FORBIDDEN)
        return found


Answer: TypeAlias = Mapping[str, object] | Sequence[object] | Response | None
"""What a handler gives: an object, rows to be paged, nothing (204), or a response of its own."""
Handler: TypeAlias = Callable[[Call], Answer | Awaitable[Answer]]


def created(data: Mapping[str, object]) -> Response:
    return JSONResponse(data, 201)


async def open_call(request: Request) -> Call:
    """Checks the token and reads the parameters. Raises Refused."""
    forge: Forge = request.app.state.forge
    token = _authenticate(request, forge)
    needed = READING_SCOPES if request.method in ("GET", "HEAD") else {"api"}
    if not request.url.path.endswith("/personal_access_tokens/self") and not needed & set(token.scopes):
        raise Refused(
            403,
            {
                "error": "insufficient_scope",
                "error_description": "The request requires higher privileges than provided by the access token.",
                "scope": " ".join(sorted(needed)),
            },
        )
    return Call(request, forge, token, dict(request.query_params) | await _body(request))


def _authenticate(request: Request, forge: Forge) -> AccessToken:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    text = request.headers.get("private-token") or (bearer if scheme.lower() == "bearer" else "")
    token = forge.world.tokens.get(text or request.query_params.get("private_token", ""))
    if token is None:
        raise Refused(401, {"message": "401 Unauthorized"})
    if token.revoked:
        raise _invalid_token("Token was revoked. You have to re-authorize from the user.")
    if token.expired(forge.world.clock.now()):
        raise _invalid_token("Token is expired. You can either do re-authorization or token refresh.")
    return token


def _invalid_token(why: str) -> Refused:
    return Refused(401, {"error": "invalid_token", "error_description": why})


async def _body(request: Request) -> dict[str, object]:
    raw = await request.body()
    if not raw:
        return {}
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise Refused(400, {"error": "The request body is not valid JSON"}) from error
    if not isinstance(value, dict):
        raise Refused(400, {"error": "The request body is not an object"})
    return value


def _whole(name: str, text: str) -> int:
    if not text.isdigit():
        raise Refused(400, {"error": f"{name} is invalid"})
    return int(text)
