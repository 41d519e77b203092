"""What every answer of the dashboard tells browsers: run nothing but ours, frame nothing, keep nothing of it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
PAGE, FOREVER = "private, no-cache", "public, max-age=31536000, immutable"


def locked_down(app: ASGIApp, forever: str) -> ASGIApp:
    """The application with them. Whatever is below `forever`, a path that changes with its content, may be kept."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                kept = scope["path"].startswith(forever) and message["status"] in (200, 304)
                headers.setdefault("Cache-Control", FOREVER if kept else PAGE)
            await send(message)

        await app(scope, receive, sent)

    return answer
