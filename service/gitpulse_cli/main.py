"""The `gitpulse` command. It only composes: each command starts something that lives in another package.

Imports of those packages stay inside the commands, so that an image without, say, the operator's libraries can run
the rest.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gitpulse_cli import people, tokens
from gitpulse_cli.deadletters import deadletters
from gitpulse_cli.errors import CommandError, WrongInput
from gitpulse_cli.hooks import hooks
from gitpulse_cli.inputs import in_utc, text_of, url_of, url_or_none
from gitpulse_cli.output import Format, Output, console
from gitpulse_cli.places import Folder, Place, SecretFiles, State, at_place
from gitpulse_cli.projects import projects
from gitpulse_cli.status import status
from gitpulse_operator.errors import OperatorError
from gitpulse_service.contract import SettingsError
from gitpulse_service.errors import ServiceError, WrongLetter, WrongToken
from gitpulse_sim.errors import SimulatorError

if TYPE_CHECKING:
    from gitpulse_sim.world import World

app = typer.Typer(
    help="Team metrics from GitLab within a second, and the webhooks that make it possible.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.command()(status)
app.command()(projects)
app.add_typer(hooks, name="hooks")
app.add_typer(deadletters, name="deadletters")
secret = typer.Typer(help="Secrets of hooks that are configured by hand.", no_args_is_help=True)
app.add_typer(secret, name="secret")
app.add_typer(people.teams, name="teams")
app.add_typer(people.people, name="people")
app.add_typer(tokens.tokens, name="tokens")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
MetricsPort = Annotated[int, typer.Option(help="Port of the Prometheus metrics; 0 for none.", min=0, max=65535)]
SecretFile = Annotated[
    Path | None, typer.Option(help="File with the secret, in the place of GITLAB_WEBHOOK_SECRET.", exists=True)
]


class Sample(StrEnum):
    """What `gitpulse send` can send."""

    PUSH = "push"
    MERGE_REQUEST = "merge_request"
    ISSUE = "issue"
    PIPELINE = "pipeline"


def _port(default: int, text: str) -> int:
    option: int = typer.Option(default, "--port", help=text, min=1, max=65535)
    return option


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Shows the version, where only that is asked for."""
    if version:
        typer.echo(f"gitpulse {importlib.metadata.version('gitpulse')}")
        raise typer.Exit


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the checks; exit code 0 only if every number agrees.")
    ] = False,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of resources to provision.", exists=True, file_okay=False)
    ] = None,
    days: Annotated[int, typer.Option(help="Days of activity to replay.", min=1, max=90)] = 14,
    output: Output = Format.TABLE,
) -> None:
    """Run all of GitPulse on this machine, against a simulated GitLab, and check its numbers."""
    from gitpulse_cli import demo as command

    raise typer.Exit(asyncio.run(command.run(examples=examples, days=days, once=once, output=output)))


@app.command()
def up(
    folder: Annotated[Path, Folder],
    state: State = None,
    secrets: SecretFiles = None,
    host: Host = "127.0.0.1",
    port: int = _port(8080, "Port that GitLab delivers to."),
    public_url: Annotated[
        str, typer.Option(help="Where GitLab reaches it, `https://…`; as GITPULSE_PUBLIC_URL, which it overrides.")
    ] = "",
    metrics_port: Annotated[
        int,
        typer.Option(
            help="Port of the receiver's metrics; worker and operator have the next two. 0: none.", min=0, max=65533
        ),
    ] = 9101,
) -> None:
    """Run all of GitPulse on this machine for a GitLab of yours, without Kubernetes, until Ctrl-C or SIGTERM.

    Redis and SQLite are brought along, unless GITPULSE_REDIS_URL and GITPULSE_DATABASE_URL name others. What changes
    in the files is taken up within a second.
    """
    from gitpulse_cli import up as command

    asyncio.run(
        command.run(folder, state, secrets, host=host, port=port, public_url=public_url, metrics_port=metrics_port)
    )


@app.command()
def sim(
    host: Host = "127.0.0.1",
    port: int = _port(8929, "Port of the simulated GitLab."),
    url: Annotated[
        str, typer.Option(help="By which others reach it, where that is not host and port.", callback=url_or_none)
    ] = "",
) -> None:
    """Run a GitLab to try things against: hooks API, deliveries, real git repositories."""
    from gitpulse_sim import seed, server

    def say(world: World) -> None:
        typer.echo(f"A simulated GitLab at {world.url}, its token: {seed.DEMO_TOKEN}", err=True)
        typer.echo(f"What it has: {world.url}/   how to make things happen: {world.url}/-/sim/", err=True)

    server.run(host=host, port=port, url=url, ready=say)


@app.command()
def receiver(
    host: Host = "127.0.0.1", port: int = _port(8080, "Port that GitLab delivers to."), metrics_port: MetricsPort = 9101
) -> None:
    """Receive webhooks: verify, store, answer; with a database configured, answer queries too."""
    from gitpulse_service.receiver import server
    from gitpulse_service.settings import ServiceSettings

    server.run(ServiceSettings.load(), host=host, port=port, metrics_port=metrics_port or None)


@app.command()
def worker(
    burst: Annotated[bool, typer.Option("--burst", help="Work until nothing is left, then exit.")] = False,
    host: Annotated[str, typer.Option(help="Address of the metrics.")] = "0.0.0.0",  # noqa: S104
    metrics_port: MetricsPort = 9102,
) -> None:
    """Count what the receivers have stored."""
    from gitpulse_service.settings import ServiceSettings
    from gitpulse_service.worker import main as worker_main

    worker_main.run(ServiceSettings.load(), burst=burst, host=host, metrics_port=metrics_port or None)


@app.command()
def migrate() -> None:
    """Bring the database to the tables of this version, and end. Workers do it too, when they start."""

    async def nothing_more(_: object) -> None:
        console.print("the database has the tables of this version")

    with console.status("Looking at the tables"):
        people.with_store(nothing_more)


@app.command()
def recompute(
    since: Annotated[
        datetime | None,
        typer.Option(help="From what was received then (UTC); where an earlier run was cut off.", callback=in_utc),
    ] = None,
) -> None:
    """Count the raw deliveries that are kept again, after an upgrade that reads more in them.

    Nothing is counted twice and nothing is taken away, so it may be cut off, and run beside workers.
    """
    from gitpulse_cli import recompute as command

    command.run(since)


@app.command()
def operator(
    metrics_port: Annotated[
        int | None, typer.Option(help="As GITPULSE_METRICS_PORT, which it overrides.", min=0, max=65535)
    ] = None,
    folder: Annotated[Path | None, Folder] = None,
    state: State = None,
    secrets: SecretFiles = None,
) -> None:
    """Watch GitPulse resources in Kubernetes, or in files, and keep GitLab's hooks as they say."""
    if folder:
        from gitpulse_cli import up as command

        asyncio.run(command.operate(folder, state, secrets, metrics_port=metrics_port))
        return
    from gitpulse_operator import run as operator_run

    operator_run.run(metrics_port=metrics_port)


@app.command()
def backfill(
    project: Annotated[str | None, typer.Argument(help="Path or id in GitLab.")] = None,
    days: Annotated[int, typer.Option(help="Days of history.", min=1, max=36500)] = 90,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", help="The same as a date (UTC), such as 2026-01-31.", callback=in_utc),
    ] = None,
    url: Annotated[str, typer.Option(help="Which GitLab, where several could be asked.", callback=url_or_none)] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A token for it, in the place of what workers have.", exists=True)
    ] = None,
    shown: Annotated[bool, typer.Option("--status", help="Show all backfills, and ask for none.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Have workers fetch a project's history from GitLab. They go on if this is ended; run it again to look."""
    from gitpulse_cli import backfill as command

    if shown == bool(project):
        raise typer.BadParameter("name a project, or say --status")
    if project:
        begin = since or datetime.now(UTC) - timedelta(days=days)
        asyncio.run(command.run(project, begin, url=url, token=text_of(token_file) if token_file else ""))
    else:
        asyncio.run(command.show(output))


@secret.command()
def generate(
    signing: Annotated[bool, typer.Option("--signing", help="A signing token, for GitLab 19 and newer.")] = False,
) -> None:
    """Print a new secret, to be given to GitLab and to the receiver as GITLAB_WEBHOOK_SECRET."""
    from gitpulse_cli import secrets as command

    typer.echo(command.generate(signing=signing))


@app.command()
def send(
    event: Annotated[Sample, typer.Argument(help="What has happened.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the receiver, with its path.", callback=url_of)],
    secret_file: SecretFile = None,
    instance: Annotated[
        str, typer.Option(help="The GitLab that it says it comes from.", callback=url_or_none)
    ] = "https://gitlab.example.com",
    output: Output = Format.TABLE,
) -> None:
    """Send a delivery to a URL as GitLab does for its Test button: a made-up event of acme/website, signed.

    A receiver that takes it counts it. Exit code 0: it was taken, 1: it was not.
    """
    from gitpulse_cli import send as command

    raise typer.Exit(0 if asyncio.run(command.run(event.value, url, secret_file, instance, output)) else 1)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The request as captured; `-`: standard input.")],
    secret_file: SecretFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Say whether a captured request is authentic, as the receiver would, and if not, what is wrong with it.

    Exit code 0: it is, 1: it is not, 2: it cannot be read.
    """
    from gitpulse_cli import verify as command

    raise typer.Exit(0 if command.run(file, secret_file, output) else 1)


@app.command()
@at_place
async def doctor(
    place: Place,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="GitPulseProjects; by hand: paths of projects.")
    ] = None,
    url: Annotated[
        str, typer.Option(help="Of the receivers, in the place of GITPULSE_PUBLIC_URL.", callback=url_or_none)
    ] = "",
    test: Annotated[bool, typer.Option("--test/--no-test", help="Have GitLab make test deliveries.")] = True,
    output: Output = Format.TABLE,
) -> int:
    """Find out why nothing arrives or counts, and what to do. It changes nothing; a test delivery is all it causes.

    With the operator's settings it looks at Kubernetes, with those of a service at hooks made by hand.
    Exit code 0: nothing is wrong, 1: something is, 2: not everything could be looked at.
    """
    from gitpulse_cli.doctor import command

    return await command.run(place, names=names or [], url=url, test=test, output=output)


def run() -> None:
    """The entry point: each error that we foresee is one line a reader can act on; 2 for wrong input, else 1."""
    try:
        app()
    except SettingsError as error:
        _fail(f"wrong settings\n{error}", 2)
    except (WrongInput, WrongLetter, WrongToken) as error:
        _fail(str(error), 2)
    except (CommandError, OperatorError, ServiceError, SimulatorError) as error:
        _fail(str(error), 1)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; try: pip install 'gitpulse[demo]'", 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if os.environ.get("GITPULSE_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (a defect of GitPulse; GITPULSE_DEBUG=1 shows where)", 1)


def _fail(text: str, code: int) -> NoReturn:
    sys.stderr.write(f"gitpulse: {text}\n")
    raise SystemExit(code)
