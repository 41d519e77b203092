"""Who looks at the pages: whoever has signed in, or shows a token; where nobody can, only somebody at this machine."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials

from gitpulse_service.dashboard.config import SignIn, is_loopback
from gitpulse_service.metrics_api.caller import Caller, Parts, bearer, by_token
from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.store import people, sessions
from gitpulse_service.store.sessions import Account

_NO_SIGN_IN = (
    "Whoever runs GitPulse can have people sign in with GitLab, by GITPULSE_OIDC_ISSUER and the settings beside it (in "
    "the chart: dashboard.oidc); docs/sign-in.md shows how. Programs show a token of `gitpulse tokens create`. To look "
    "without either, on your own machine: GITPULSE_API_TOKENS_REQUIRED=false, and a loopback address such as "
    "http://127.0.0.1:8080 with no proxy before it."
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who may look.

    A page asks `caller` for all that it shows: that sees only what this viewer may. Whoever sees some teams goes by one
    of them at a time, for `caller.scope` refuses to guess which: the first of `caller.teams`, or what `?team=` says.
    Streams end when `caller.still()` is false. With a `name` the page offers to sign out: a form posted to `/signout`.
    """

    caller: Caller
    """What they may see."""
    name: str | None
    """Under which they have signed in; None: nobody needs to here, or it is a program that shows a token."""


class Closed(Problem):
    """The door stays closed; a page says why, and what to do."""

    def __init__(
        self, status: HTTPStatus, title: str, detail: str, *, sign_in: bool = False, sign_out: bool = False
    ) -> None:
        super().__init__(status, detail, {"Cache-Control": "no-store"})
        self.title = title
        self.sign_in, self.sign_out = sign_in, sign_out
        """Whether the page offers that."""


async def _viewer(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]) -> Viewer:
    parts: Parts = request.app.state.parts
    sign_in: SignIn | None = request.app.state.sign_in
    if shown is not None:
        return Viewer(await by_token(parts, shown.credentials), None)
    if sign_in is not None:
        return await _signed_in(parts, sign_in, request.cookies.get(sign_in.cookie, ""))
    if parts.tokens_required or not _is_here(request):
        raise Closed(HTTPStatus.FORBIDDEN, "Nobody can sign in yet", _NO_SIGN_IN)
    return Viewer(Caller(parts, None), None)


async def _signed_in(parts: Parts, sign_in: SignIn, secret: str) -> Viewer:
    """Whose session it is, with the teams that the map of people has them in at this moment. Raises Closed."""
    account = await sessions.find(parts.engine, secret, sign_in.issuer) if secret else None
    if account is None:
        detail = "GitPulse shows the numbers of your teams. It asks your GitLab who you are."
        raise Closed(HTTPStatus.UNAUTHORIZED, "Sign in", detail, sign_in=True)
    teams = await _teams(parts, sign_in, account)
    if teams is not None and not teams:
        detail = (
            f"You are signed in as {account.username}, and no team has you as a member. Ask whoever keeps the map of "
            f"people, in GitPulseTeams or a file, to add your GitLab account: number {account.id}, user name "
            f"{account.username}. You see your team as soon as that is done. See docs/people.md and docs/sign-in.md."
        )
        raise Closed(HTTPStatus.FORBIDDEN, "You are in no team yet", detail, sign_out=True)

    async def valid() -> bool:
        found = await sessions.find(parts.engine, secret, sign_in.issuer)
        return found is not None and await _teams(parts, sign_in, found) == teams

    return Viewer(Caller(parts, teams, valid), account.username)


async def _teams(parts: Parts, sign_in: SignIn, account: Account) -> frozenset[str] | None:
    return None if sign_in.sees_all(account) else await people.teams_of(parts.engine, account.handles())


def _is_here(request: Request) -> bool:
    """Whether it was asked on this machine, by no proxy, and by a name that no other site can have.

    A name that is not ours may lead here too (DNS rebinding), and then that site's scripts could read the answer.
    """
    names = ("forwarded", "via", "x-real-ip")
    forwarded = any(it in names or it.startswith("x-forwarded-") for it in request.headers)
    try:  # not `request.url`, which has the server's own address where it cannot read the header
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    peer = request.client.host if request.client else ""
    return not forwarded and is_loopback(name) and is_loopback(peer)


AnyViewer: TypeAlias = Annotated[Viewer, Depends(_viewer)]
