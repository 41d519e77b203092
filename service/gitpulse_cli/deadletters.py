"""`gitpulse deadletters`: shows deliveries that could not be counted, puts them back, drops them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gitpulse_cli.output import Format, Output, console, dump, show as show_rows
from gitpulse_service.errors import WrongLetter

if TYPE_CHECKING:
    from gitpulse_service.log.dead_letters import DeadLetters

T = TypeVar("T")
deadletters = typer.Typer(help="Look after deliveries that could not be counted.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="As `list` shows them.")]
Every = Annotated[bool, typer.Option("--all", help="All there are, in the place of ids.")]


@deadletters.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50, output: Output = Format.TABLE
) -> None:
    """List dead letters, the newest first: id, when, hook, event, reason, size of the body."""

    async def rows(letters: DeadLetters) -> list[dict[str, str | int]]:
        return [letter.summary() async for letter in letters.newest(limit)]

    show_rows(_with(rows), output, none="no dead letters")


@deadletters.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    raw: Annotated[bool, typer.Option("--raw", help="Print the body alone, as it came.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show one dead letter: what is known of the delivery, and its body."""
    (found,) = _with(lambda letters: letters.find([letter]))
    if raw:
        sys.stdout.buffer.write(found.body)
    elif output is not Format.TABLE:
        dump({**found.headers(), "body": found.body.decode(errors="backslashreplace")}, output)
    else:
        head = "".join(f"{name}: {value}\n" for name, value in found.headers().items())
        sys.stdout.write(f"{head}\n{found.pretty()}\n")


@deadletters.command()
def retry(ids: Ids = None, every: Every = False) -> None:
    """Put dead letters back into the event log, to be counted, for example after an upgrade that can.

    What was malformed cannot be put back; `--all` leaves it where it is.
    """
    chosen = _chosen(ids, every=every)

    async def put_back(letters: DeadLetters) -> tuple[int, int]:
        with console.status("Putting them back"):
            return await letters.retry_all() if every else (await letters.retry(await letters.find(chosen)), 0)

    done, stay = _with(put_back)
    console.print(f"{done} put back" + (f", {stay} stay: nothing in them can be counted" if stay else ""))


@deadletters.command()
def drop(
    ids: Ids = None, every: Every = False, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove dead letters for good."""
    chosen = _chosen(ids, every=every)

    async def remove(letters: DeadLetters) -> int:
        found = await letters.find(chosen)
        count = await letters.count() if every else len(found)
        if count and not yes:
            typer.confirm(f"Drop {count} dead letters for good?", abort=True, err=True)
        return await letters.drop_all() if every else await letters.drop(found)

    console.print(f"{_with(remove)} dropped")


def _chosen(ids: Sequence[str] | None, *, every: bool) -> Sequence[str]:
    if every == bool(ids):
        raise WrongLetter("name dead letters by their ids, or say --all")
    return ids or []


def _with(work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    from gitpulse_service.log.connection import connect
    from gitpulse_service.log.dead_letters import DeadLetters
    from gitpulse_service.settings import ServiceSettings

    async def run() -> T:
        settings = ServiceSettings.load()
        async with connect(settings.redis_url) as client:
            return await work(DeadLetters(client, settings.partitions))

    return asyncio.run(run())
