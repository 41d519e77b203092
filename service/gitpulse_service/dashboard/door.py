"""Who looks at the pages: whoever has signed in; where nobody can, only somebody at this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from gitpulse_service.metrics_api.caller import Caller, Parts
from gitpulse_service.metrics_api.problems import Problem


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who may look."""

    caller: Caller
    """What they may see."""
    name: str | None
    """Under which they have signed in; None: nobody needs to here."""


async def _viewer(request: Request) -> Viewer:
    parts: Parts = request.app.state.parts
    if not _is_here(request):
        detail = "without sign-in the dashboard is shown only on the machine that it runs on, at its loopback address"
        raise Problem(HTTPStatus.FORBIDDEN, detail)
    return Viewer(Caller(parts, None), None)


def _is_here(request: Request) -> bool:
    """Whether it was asked on this machine, by no proxy, and by a name that no other site can have."""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    name = request.url.hostname or ""
    return not forwarded and _loopback(request.client.host if request.client else "") and _loopback(name)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


AnyViewer: TypeAlias = Annotated[Viewer, Depends(_viewer)]
