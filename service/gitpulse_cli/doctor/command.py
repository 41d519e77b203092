"""`gitpulse doctor`: looks at everything in order, and says what is wrong and what to do about it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence

import typer

from gitpulse_cli.doctor.check import Check, examine
from gitpulse_cli.doctor.database import DATABASE
from gitpulse_cli.doctor.delivery import DELIVERY
from gitpulse_cli.doctor.finding import Finding, Status, exit_code
from gitpulse_cli.doctor.gitlab import CLOCK, GITLAB
from gitpulse_cli.doctor.hooks import HOOK
from gitpulse_cli.doctor.operator import DIRECTORY_CHECK, OPERATOR, SPEC
from gitpulse_cli.doctor.patient import Patient, by_hand, of_resources
from gitpulse_cli.doctor.receiver import READY, RECEIVER
from gitpulse_cli.doctor.redis import REDIS
from gitpulse_cli.doctor.worker import WORKER
from gitpulse_cli.errors import CommandError
from gitpulse_cli.output import Format, console, show
from gitpulse_cli.places import Place
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.settings import ServiceSettings

CHECKS: tuple[Check[Patient], ...] = (
    SPEC, OPERATOR, REDIS, DIRECTORY_CHECK, DATABASE, WORKER, GITLAB, HOOK, RECEIVER, READY, CLOCK, DELIVERY,
)  # fmt: skip
SHOWN = ("status", "check", "subject", "cause", "evidence")


async def run(place: Place, *, names: Sequence[str], url: str, test: bool, output: Format) -> int:
    """Returns the exit code. Raises SettingsError."""
    try:
        async with _patient(place, url) as patient:
            patient.names, patient.may_test = names, test
            with console.status("Looking") as line:
                found = await examine(CHECKS, patient, lambda what: line.update(f"Looking at {what}"))
    except (OperatorError, CommandError) as error:  # resources cannot be read
        console.print(f"gitpulse: {error}")
        return 2
    show([finding.as_row() for finding in found], output, columns=SHOWN)
    if output is Format.TABLE:
        _explain(found)
    return exit_code(found)


@contextlib.asynccontextmanager
async def _patient(place: Place, url: str) -> AsyncIterator[Patient]:
    # An operator's environment has its public URL, and no other has.
    if place == Place() and "GITPULSE_PUBLIC_URL" not in os.environ:
        async with by_hand(url.rstrip("/"), ServiceSettings.load()) as patient:
            yield patient
        return
    given = {"public_url": url} if url else {}
    selector = "" if place.folder else OperatorSettings.load(**given).shard_selector
    async with (
        place.opened(selector) as view,  # it takes up the settings that are written down beside files
        of_resources(OperatorSettings.load(**given), view, ServiceSettings.load()) as patient,
    ):
        yield patient


def _explain(found: Sequence[Finding]) -> None:
    """Each cause once, with what to do."""
    causes = dict.fromkeys(finding.cause for finding in found if finding.cause)
    for cause in causes:
        page = f" (docs/runbooks/{cause.runbook}.md)" if cause.runbook else ""
        typer.echo(f"\n{cause.id}: {cause.says}\n  {cause.cure}{page}")
    if not causes:
        unknown = any(finding.status is Status.UNKNOWN for finding in found)
        typer.echo(f"\nnothing is wrong{', as far as could be looked at' if unknown else ''}")
