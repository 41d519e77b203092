"""`gitpulse teams` and `gitpulse people`: who is who, who is not known, who is to be forgotten or signed out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gitpulse_cli.errors import CommandError
from gitpulse_cli.output import Format, Output, console, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from gitpulse_service.store.roster import Resolved

T = TypeVar("T")
teams = typer.Typer(help="Look after teams where there is no Kubernetes.", no_args_is_help=True)
people = typer.Typer(help="Look after who is who.", no_args_is_help=True)


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
def list_teams(output: Output = Format.TABLE) -> None:
    """List the teams: source, time zone, members."""
    from gitpulse_service.store.people import whole

    known = with_store(whole)
    members = {name: sorted(person for team, person in known.members if team == name) for name in known.teams}
    rows = [
        {"team": name, "source": source, "time_zone": zone, "members": members[name]}
        for name, (source, zone) in sorted(known.teams.items())
    ]
    show(rows, output, none="no teams")


@people.command("list")
def list_people(output: Output = Format.TABLE) -> None:
    """List the people that are known: teams, aliases."""
    from gitpulse_service.store.people import whole

    known = with_store(whole)
    persons = sorted(set(known.aliases.values()))
    teams_of = {name: sorted(team for team, person in known.members if person == name) for name in persons}
    of = {
        name: sorted(f"{kind} {value}" for (kind, value), who in known.aliases.items() if who == name)
        for name in persons
    }
    rows = [{"person": name, "teams": teams_of[name], "aliases": of[name]} for name in persons]
    show(rows, output, none="no people")
    _warn(known)


@people.command()
def unmatched(
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50, output: Output = Format.TABLE
) -> None:
    """List who is counted and matches nobody, the busiest first, and who it may be."""
    from gitpulse_service.store.unmatched import unmatched as find

    rows = [
        {
            "name": it.name,
            "email": it.email,
            "username": it.username,
            "commits": it.commits,
            "other": it.other,
            "maybe": [f"{who} ({why})" for who, why in it.suggestions.items()],
        }
        for it in with_store(partial(find, limit=limit))
    ]
    show(rows, output, none="whoever is counted matches somebody")


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


@people.command("sign-out")
def sign_out(who: Annotated[str, typer.Argument(help="User name, e-mail address or number of their account.")]) -> None:
    """End all of somebody's sessions at the dashboard, at once. Who is not blocked in GitLab can sign in again."""
    from gitpulse_service.store.sessions import end_all

    if not (count := with_store(partial(end_all, who=who))):
        raise CommandError(
            f"nobody is signed in as {who}: their user name, e-mail address or number in GitLab is wanted"
        )
    console.print(f"{count} sessions of {who} ended")


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


def _warn(whole: Resolved) -> None:
    for (kind, value), persons in sorted(whole.conflicts.items()):
        console.print(f"{kind} {value} is claimed by {' and '.join(persons)}; it counts for {persons[0]}")
