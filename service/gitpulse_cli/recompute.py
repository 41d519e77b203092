"""`gitpulse recompute`: the numbers again from the raw deliveries, with a line of progress."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.recompute import recompute

console = Console(stderr=True, highlight=False, soft_wrap=True)


async def run(since: datetime | None) -> None:
    """Goes through them and says how far it is. Raises ServiceError, SettingsError."""
    settings = ServiceSettings.load()
    engine = create_engine(settings.needed_database_url(), keep_emails=settings.keep_emails)
    done = None
    try:
        await migrate(engine)
        start = since and (since if since.tzinfo else since.replace(tzinfo=UTC))
        with console.status("reading raw deliveries") as status:
            async for done in recompute(engine, since=start, events=settings.batch_events, size=settings.batch_bytes):
                status.update(f"{done.deliveries} deliveries, up to {done.until:%Y-%m-%dT%H:%M:%S}")
    finally:
        await engine.dispose()
        if done:
            console.print(
                f"{done.deliveries} deliveries up to {done.until:%Y-%m-%dT%H:%M:%S}, {done.left_out} left out"
            )
    if done is None:
        console.print("no raw deliveries are kept")
