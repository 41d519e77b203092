"""`gitpulse recompute`: the numbers again from the raw deliveries, with a line of progress."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_cli.output import console
from gitpulse_cli.people import with_store
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.recompute import recompute


def run(since: datetime | None) -> None:
    """Goes through them and says how far it is. Raises ServiceError, SettingsError."""
    with_store(partial(_run, since))


async def _run(since: datetime | None, engine: AsyncEngine) -> None:
    settings, done = ServiceSettings.load(), None
    try:
        with console.status("reading raw deliveries") as status:
            async for done in recompute(engine, since=since, events=settings.batch_events, size=settings.batch_bytes):
                status.update(f"{done.deliveries} deliveries, up to {done.until:%Y-%m-%dT%H:%M:%S}")
    finally:
        if done:
            console.print(
                f"{done.deliveries} deliveries up to {done.until:%Y-%m-%dT%H:%M:%S}, {done.left_out} left out"
            )
    if done is None:
        console.print("no raw deliveries are kept")
