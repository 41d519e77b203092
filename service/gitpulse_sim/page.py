"""The plain page at `/`: what this is, and what one needs to use it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gitpulse_sim.world import World

_PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>GitLab simulator</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td,th{{text-align:left;padding:.2rem 1rem .2rem 0}}</style>
<h1>This is not GitLab</h1><p>It is a simulator to try GitPulse with: it answers like GitLab {release}, keeps real git
repositories and sends real webhooks. Nothing is kept when it stops. The API is at <code>/api/v4</code>, the
<a href="/-/sim/">control doors</a> say how to make something happen.</p>
"""


async def front_page(request: Request) -> Response:
    return HTMLResponse(render(request.app.state.forge.world))


def render(world: World) -> str:
    """The page. Tokens are shown: they open nothing but this simulator; a hook URL's password is not."""
    instance, now = world.instance, world.clock.now()
    projects = ((one.full_path, one.id, f"{len(one.repository.tips)} refs") for one in world.projects.values())
    hooks = (
        (parent.full_path, hook.id, re.sub("//[^/]*@", "//", hook.url), hook.alert_status(instance, now))
        for parent in world.parents
        for hook in parent.hooks.values()
    )
    tokens = ((token.text, token.user.username, " ".join(token.scopes)) for token in world.tokens.values())
    return "".join(
        (
            _PAGE.format(release=escape(f"{instance.version} ({instance.tier})")),
            _table("Projects", ("path", "id", "repository"), projects),
            _table("Hooks", ("of", "id", "url", "status"), hooks),
            _table("Tokens", ("token", "user", "scopes"), tokens),
        )
    )


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in row) for row in rows)
    return f"<h2>{title}</h2><table><tr>" + "".join(f"<th>{head}" for head in heads) + lines + "</table>"
