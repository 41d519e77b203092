"""Signing in and out. What is kept in between is in the browser alone, so that strangers write nothing here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from http import HTTPStatus
from urllib.parse import quote, unquote

from fastapi import FastAPI, Request, Response
from starlette.responses import RedirectResponse

from gitpulse_service.dashboard.config import SignIn
from gitpulse_service.dashboard.door import Closed
from gitpulse_service.dashboard.gitlab import CALLBACK, GitLab, refused
from gitpulse_service.metrics_api.caller import Parts
from gitpulse_service.store import sessions

BEGUN_FOR = 600
"""Seconds in which somebody has to come back from GitLab."""
_LOCAL = re.compile(r"/(?!/|\\)[!-\[\]-~]{0,1000}")
"""A path of this site: no other host, and nothing that a browser would take for one."""
_NO_STORE = {"Cache-Control": "no-store"}


def add_sign_in(app: FastAPI, sign_in: SignIn, parts: Parts) -> None:
    """Adds what people go through to get in, and to get out."""
    gitlab, begun = GitLab(sign_in, parts), f"{sign_in.cookie}-signin"

    def keep(answer: Response, name: str, value: str, seconds: int) -> None:
        answer.set_cookie(name, value, seconds, path="/", secure=sign_in.secure, httponly=True, samesite="lax")

    @app.get("/signin")
    async def start(next: str = "/") -> Response:  # noqa: A002 -- as the parameter is called everywhere
        secret = secrets.token_urlsafe(32)
        url = await gitlab.authorization_url(*(_made_of(secret, it) for it in ("state", "nonce", "verifier")))
        answer = RedirectResponse(url, HTTPStatus.SEE_OTHER, _NO_STORE)
        keep(answer, begun, f"{secret}.{quote(local(next), safe='')}", BEGUN_FOR)
        return answer

    @app.get(CALLBACK)
    async def callback(request: Request) -> Response:
        said = request.query_params
        secret, _, path = request.cookies.get(begun, "").partition(".")
        if not secret or not hmac.compare_digest(_made_of(secret, "state").encode(), said.get("state", "").encode()):
            detail = "This sign-in was not begun in this browser, or longer ago than ten minutes. Sign in again."
            raise Closed(HTTPStatus.BAD_REQUEST, "Sign in again", detail, sign_in=True)
        if "error" in said:
            raise refused(said["error"])
        account = await gitlab.account(
            said.get("code", "")[:1000], *(_made_of(secret, it) for it in ("nonce", "verifier"))
        )
        if old := request.cookies.get(sign_in.cookie):
            await sessions.end(parts.engine, old)
        answer = RedirectResponse(sign_in.url + local(unquote(path)), HTTPStatus.SEE_OTHER, _NO_STORE)
        session = await sessions.begin(parts.engine, account)
        keep(answer, sign_in.cookie, session, int(sessions.LIFETIME.total_seconds()))
        keep(answer, begun, "", 0)
        return answer

    @app.post("/signout")
    async def out(request: Request) -> Response:
        if not _is_ours(request, sign_in):
            detail = "Only the dashboard's own pages can sign you out. Go back and use the button there."
            raise Closed(HTTPStatus.FORBIDDEN, "You are still signed in", detail)
        await sessions.end(parts.engine, request.cookies.get(sign_in.cookie, ""))
        answer = RedirectResponse(f"{sign_in.url}/", HTTPStatus.SEE_OTHER, _NO_STORE)
        keep(answer, sign_in.cookie, "", 0)
        return answer


def local(path: str) -> str:
    """The path, if it is one of this site; else the first page's."""
    return path if _LOCAL.fullmatch(path) else "/"


def _is_ours(request: Request, sign_in: SignIn) -> bool:
    """Whether a page of ours sent it: a browser says so, and no script can write these headers."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    return origin == sign_in.url if site is None else site == "same-origin"


def _made_of(secret: str, what: str) -> str:
    """State, nonce and verifier are all made of the one secret that the browser keeps; none tells of another."""
    digest = hmac.digest(secret.encode(), what.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
