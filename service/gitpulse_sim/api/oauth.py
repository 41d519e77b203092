"""`/oauth/…`, and the page on which one chooses who signs in: there are no passwords here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gitpulse_sim.api.door import suffer
from gitpulse_sim.oauth import Provider, jwk
from gitpulse_sim.world import Application

SCOPES = ["api", "read_user", "read_api", "read_repository", "write_repository", "sudo", "openid", "profile", "email"]
ERRORS = {
    "invalid_client": "Client authentication failed due to unknown client, no client authentication included, or "
    "unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not match the redirection "
    "URI used in the authorization request, or was issued to another client.",
    "invalid_redirect_uri": "The redirect URI included is not valid.",
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "invalid_code_challenge_method": "The code challenge method must be plain or S256.",
    "unsupported_response_type": "The authorization server does not support this response type.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server.",
    "access_denied": "The resource owner or authorization server denied the request.",
}
_PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>Authorize {name} · GitLab simulator</title>
<h1>Authorize {name}?</h1><p>It asks for: {scopes}. Who are you?</p>
<form method=post action=/oauth/authorize>{hidden}{users}<p><button name=deny value=1>Deny</button></form>"""


def _configuration(provider: Provider, _: Request) -> Response:
    url = provider.world.url
    endpoints = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
    return JSONResponse(
        {
            "issuer": url,
            **{f"{name}_endpoint": f"{url}/oauth/{path}" for name, path in endpoints.items()},
            "jwks_uri": f"{url}/oauth/discovery/keys",
            "scopes_supported": SCOPES,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }
    )


def _keys(_: Provider, __: Request) -> Response:
    return JSONResponse({"keys": [jwk()]})


async def _authorize(provider: Provider, request: Request) -> Response:
    """Asks who it is that signs in, and sends them back. What is wrong is a page of GitLab's, never sent back."""
    said = {**request.query_params, **await _form(request)}
    application = provider.world.applications.get(said.get("client_id", ""))
    scopes = tuple(said.get("scope", "").split())
    if error := _mistake(application, scopes, said):
        return HTMLResponse(f"<h1>An error has occurred</h1><p>{escape(ERRORS[error])}</p>")
    assert application
    if request.method == "GET":
        return HTMLResponse(_page(provider, application, said))
    state = {"state": said["state"]} if "state" in said else {}
    if "deny" in said:
        answer = {"error": "access_denied", "error_description": ERRORS["access_denied"]}
    else:
        user = provider.world.user(said.get("user", ""))
        answer = {"code": provider.grant(application, user, scopes, said, said["redirect_uri"])}
    return RedirectResponse(f"{said['redirect_uri']}?{urlencode(answer | state)}", 302)


def _mistake(application: Application | None, scopes: tuple[str, ...], said: Mapping[str, str]) -> str:
    if application is None:
        return "invalid_client"
    if said.get("redirect_uri") not in application.redirect_uris:
        return "invalid_redirect_uri"
    if said.get("response_type") != "code":
        return "unsupported_response_type"
    if not scopes or not set(scopes) <= set(application.scopes):
        return "invalid_scope"
    if said.get("code_challenge_method", "plain") not in ("plain", "S256"):
        return "invalid_code_challenge_method"
    return ""


def _page(provider: Provider, application: Application, said: Mapping[str, str]) -> str:
    hidden = "".join(f'<input type=hidden name="{escape(name)}" value="{escape(it)}">' for name, it in said.items())
    users = "".join(
        f'<p><button name=user value="{escape(it.username)}">{escape(it.name)} (@{escape(it.username)})</button>'
        for it in provider.world.users.values()
        if not it.bot
    )
    scopes = escape(said["scope"])
    return _PAGE.format(name=escape(application.name), scopes=scopes, hidden=hidden, users=users)


async def _token(provider: Provider, request: Request) -> Response:
    said = await _form(request)
    name, secret = _basic(request) or (said.get("client_id", ""), said.get("client_secret", ""))
    application = provider.world.applications.get(name)
    if application is None or application.secret != secret:
        challenge = f'Bearer realm="Doorkeeper", error="invalid_client", error_description="{ERRORS["invalid_client"]}"'
        return _error("invalid_client", 401, {"WWW-Authenticate": challenge})
    if said.get("grant_type") != "authorization_code":
        return _error("unsupported_grant_type")
    answer = provider.exchange(application, said)
    return _error("invalid_grant") if answer is None else JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _user_info(provider: Provider, request: Request) -> Response:
    grant = provider.holder(request.headers.get("authorization", "").removeprefix("Bearer "))
    if grant is None:
        says = 'Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token is invalid"'
        return Response(status_code=401, headers={"WWW-Authenticate": says})
    return JSONResponse(provider.user_info(grant)) if "openid" in grant.scopes else Response(status_code=403)


def _error(error: str, status: int = 400, headers: Mapping[str, str] | None = None) -> Response:
    body = {"error": error, "error_description": ERRORS[error]}
    return JSONResponse(body, status, {"Cache-Control": "no-store", **(headers or {})})


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


Handler = Callable[[Provider, Request], Response | Awaitable[Response]]


def _route(path: str, handler: Handler, *methods: str) -> Route:
    async def endpoint(request: Request) -> Response:
        await suffer(request)
        answer = handler(request.app.state.provider, request)
        return answer if isinstance(answer, Response) else await answer

    return Route(path, endpoint, methods=methods)


def routes() -> list[Route]:
    return [
        _route("/.well-known/openid-configuration", _configuration, "GET"),
        _route("/oauth/discovery/keys", _keys, "GET"),
        _route("/oauth/authorize", _authorize, "GET", "POST"),
        _route("/oauth/token", _token, "POST"),
        _route("/oauth/userinfo", _user_info, "GET", "POST"),
    ]
