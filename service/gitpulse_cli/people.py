"""`gitpulse teams` and `gitpulse people`: who is who, who is not known, and who is to be forgotten."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from gitpulse_service.store.roster import Resolved

T = TypeVar("T")
console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
teams = typer.Typer(help="Look after teams where there is no Kubernetes.", no_args_is_help=True)
people = typer.Typer(help="Look after who is who.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON on standard output.")]


@teams.command()
def apply(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="YAML with teams.", exists=True)],
    source: Annotated[str, typer.Option(help="Whose teams these are; those of other sources stay.")] = "file",
) -> None:
    """Put the teams of a file in the place of those that were applied before; all history follows at once."""
    from gitpulse_cli.team_files import read
    from gitpulse_service.store.people import replace

    given = read(path)
    whole = with_store(partial(replace, source=source, teams=given))
    console.print(f"{sum(bool(team.name) for team in given)} teams, {len(whole.aliases)} aliases in use")
    _warn(whole)


@teams.command("list")
def list_teams(as_json: AsJson = False) -> None:
    """List the teams: source, time zone, members."""
    from gitpulse_service.store.people import whole

    known = with_store(whole)
    members = {name: sorted(person for team, person in known.members if team == name) for name in known.teams}
    rows = [(name, source, zone, members[name]) for name, (source, zone) in sorted(known.teams.items())]
    show(("team", "source", "time_zone", "members"), rows, as_json=as_json)


@people.command("list")
def list_people(as_json: AsJson = False) -> None:
    """List the people that are known: teams, aliases."""
    from gitpulse_service.store.people import whole

    known = with_store(whole)
    persons = sorted(set(known.aliases.values()))
    teams_of = {name: sorted(team for team, person in known.members if person == name) for name in persons}
    of = {
        name: sorted(f"{kind} {value}" for (kind, value), who in known.aliases.items() if who == name)
        for name in persons
    }
    show(("person", "teams", "aliases"), [(name, teams_of[name], of[name]) for name in persons], as_json=as_json)
    _warn(known)


@people.command()
def unmatched(
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50, as_json: AsJson = False
) -> None:
    """List who is counted and matches nobody, the busiest first, and who it may be."""
    from gitpulse_service.store.unmatched import unmatched as find

    rows = [
        (
            it.name,
            it.email,
            it.username,
            it.commits,
            it.other,
            [f"{who} ({why})" for who, why in it.suggestions.items()],
        )
        for it in with_store(partial(find, limit=limit))
    ]
    show(("name", "email", "username", "commits", "other", "maybe"), rows, as_json=as_json)


@people.command()
def forget(
    who: Annotated[str, typer.Argument(help="Name, e-mail address or user name.")],
    erase: Annotated[bool, typer.Option("--erase", help="Do not even keep together what they did.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget a person for good: names, addresses and raw deliveries go, their numbers stay as of nobody named.

    They get a pseudonym, or with `--erase` none. What comes later does not bring them back.
    """
    from gitpulse_service.store import forget as store

    known = with_store(partial(store.find, who=who))
    for row in known.identities:
        console.print(f"  {row.name or ''} <{row.email or ''}> {'@' + row.username if row.username else ''}")
    if not yes:
        typer.confirm(f"Forget {known.person or who} for good?", abort=True, err=True)
    done = with_store(partial(store.forget, known=known, erase=erase))
    shown = f"now {done['now']}" if done["now"] else "nobody's now"
    console.print(f"{done['identities']} identities, {shown}; {done['deliveries']} raw deliveries dropped")
    for source in done["sources"]:
        console.print(f'taken out of the teams of source "{source}"; take them out there too')


def with_store(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Does it with the store. Raises SettingsError, ServiceError."""
    from gitpulse_service.settings import ServiceSettings
    from gitpulse_service.store.engine import create_engine
    from gitpulse_service.store.migrate import migrate

    async def run() -> T:
        settings = ServiceSettings.load()
        engine = create_engine(settings.needed_database_url(), keep_emails=settings.keep_emails)
        try:
            await migrate(engine)
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """A table, or a JSON list, on standard output."""
    if as_json:
        sys.stdout.write(json.dumps([dict(zip(columns, row, strict=True)) for row in rows]) + "\n")
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text("\n".join(cell) if isinstance(cell, list) else str(cell or "")) for cell in row))
    Console().print(table)


def _warn(whole: Resolved) -> None:
    for (kind, value), persons in sorted(whole.conflicts.items()):
        console.print(f"{kind} {value} is claimed by {' and '.join(persons)}; it counts for {persons[0]}")
