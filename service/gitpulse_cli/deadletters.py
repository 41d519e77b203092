"""`gitpulse deadletters`: shows deliveries that could not be counted, puts them back, drops them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gitpulse_service.errors import WrongLetter
from gitpulse_service.log.connection import connect
from gitpulse_service.log.dead_letters import DeadLetters
from gitpulse_service.settings import ServiceSettings

console = Console(stderr=True, highlight=False, soft_wrap=True)


async def show_list(*, limit: int, as_json: bool) -> None:
    """Prints a table, or a JSON list, on standard output."""
    async with _opened() as letters:
        rows = [letter.summary() async for letter in letters.newest(limit)]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    elif rows:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row.values()))
        Console().print(table)
    else:
        console.print("no dead letters")


async def show(letter_id: str, *, raw: bool) -> None:
    """Prints what is known of it and its body, or (raw) the body's very bytes."""
    async with _opened() as letters:
        (letter,) = await letters.find([letter_id])
    if raw:
        sys.stdout.buffer.write(letter.body)
        return
    head = "".join(f"{name}: {value}\n" for name, value in letter.headers().items())
    sys.stdout.write(f"{head}\n{letter.pretty()}\n")


async def retry(ids: Sequence[str], *, every: bool) -> None:
    """Puts them back; of all, those that can be."""
    _check(ids, every=every)
    async with _opened() as letters:
        done, stay = await letters.retry_all() if every else (await letters.retry(await letters.find(ids)), 0)
    console.print(f"{done} put back" + (f", {stay} stay: nothing in them can be counted" if stay else ""))


async def drop(ids: Sequence[str], *, every: bool, sure: bool) -> None:
    """Asks, unless `sure`, and removes them."""
    _check(ids, every=every)
    async with _opened() as letters:
        chosen = await letters.find(ids)
        count = await letters.count() if every else len(chosen)
        if count and not sure:
            typer.confirm(f"Drop {count} dead letters for good?", abort=True, err=True)
        console.print(f"{await letters.drop_all() if every else await letters.drop(chosen)} dropped")


def _check(ids: Sequence[str], *, every: bool) -> None:
    if every == bool(ids):
        raise WrongLetter("name dead letters by their ids, or say --all")


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[DeadLetters]:
    settings = ServiceSettings.load()
    async with connect(settings.redis_url) as client:
        yield DeadLetters(client, settings.partitions)
