"""`gitpulse tokens`: makes, lists and revokes the query API's tokens."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import typer

from gitpulse_cli.output import Format, Output, console, show
from gitpulse_cli.people import with_store

tokens = typer.Typer(help="Look after the query API's tokens.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="By which it is listed and revoked, such as whom it is for.")]


@tokens.command()
def create(
    name: Name,
    team: Annotated[list[str] | None, typer.Option(help="A team that it is for; several may be named.")] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="Days, such as `90d`, or `never`.")] = "365d",
) -> None:
    """Make a token that may read the numbers of all teams, or of some, and print it, this once."""
    from gitpulse_service.store import tokens as store

    if not (days := re.fullmatch(r"([1-9]\d{0,4})d|never", expires)):
        raise typer.BadParameter(f"`--expires` is a number of days such as `90d`, or `never`; not `{expires}`")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(days[1])) if days[1] else None

    secret = with_store(partial(store.create, name=name, teams=team or None, expires_at=end))
    sys.stdout.write(secret + "\n")
    console.print(f"{name}: for {', '.join(team or []) or 'all teams'}, until {end or 'it is revoked'}")


@tokens.command("list")
def list_tokens(output: Output = Format.TABLE) -> None:
    """List tokens: teams, when they were made, when they end, and were last used (give or take an hour)."""
    from gitpulse_service.store import tokens as store

    rows = []
    for it in with_store(store.tokens):
        moments = {"created": it.created, "expires": it.expires, "used": it.used}
        shown = {name: at and at.isoformat() for name, at in moments.items()}
        rows.append({"name": it.name, "teams": "all" if it.teams is None else sorted(it.teams), **shown})
    show(rows, output, none="no tokens")


@tokens.command()
def revoke(name: Name) -> None:
    """Take a token back, at once."""
    from gitpulse_service.store import tokens as store

    with_store(partial(store.revoke, name=name))
    console.print(f"{name}: revoked")
