"""The plain page at `/`: what this is, and what one needs to use it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gitpulse_sim.world import World

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "td,th{text-align:left;padding:.2rem 1rem .2rem 0}"
)


async def front_page(request: Request) -> Response:
    return HTMLResponse(render(request.app.state.forge.world))


def render(world: World) -> str:
    """The page. Tokens are shown: they open nothing but this simulator."""
    now = world.clock.now()
    projects = [
        (one.full_path, str(one.id), "empty" if one.repository.is_empty else f"{len(one.repository.tips)} refs")
        for one in world.projects.values()
    ]
    hooks = [
        (parent.full_path, str(hook.id), _without_user(hook.url), hook.alert_status(world.instance, now))
        for parent in world.parents
        for hook in parent.hooks.values()
    ]
    tokens = [(token.text, token.user.username, " ".join(token.scopes)) for token in world.tokens.values()]
    return "".join(
        (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>GitLab simulator</title><style>{_STYLE}</style>",
            "<h1>This is not GitLab</h1><p>It is a simulator to try GitPulse with: it answers like GitLab ",
            f"{escape(world.instance.version)} ({escape(world.instance.tier)}), keeps real git repositories and sends ",
            "real webhooks. Nothing is kept when it stops. The API is at <code>/api/v4</code>, the ",
            '<a href="/-/sim/">control doors</a> say how to make something happen.</p>',
            _table("Projects", ("path", "id", "repository"), projects),
            _table("Hooks", ("of", "id", "url", "status"), hooks),
            _table("Tokens", ("token", "user", "scopes"), tokens),
        )
    )


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return f"<h2>{title}</h2><p>None yet.</p>"
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return f"<h2>{title}</h2><table><tr>" + "".join(f"<th>{head}" for head in heads) + lines + "</table>"


def _without_user(url: str) -> str:
    """The address without the password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
