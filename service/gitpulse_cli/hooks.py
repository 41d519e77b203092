"""`gitpulse hooks`: what there is in GitLab, and what may be done about it."""

from __future__ import annotations

from typing import Annotated

import typer

from gitpulse_cli import asking
from gitpulse_cli.hook_rows import Hook, hooks_of, the_hook
from gitpulse_cli.output import Format, Output, console, dump, facts, show
from gitpulse_cli.places import View, placed
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.names import PROJECT
from gitpulse_operator.reconcile.resource import mapping

hooks = typer.Typer(help="Look after what is in GitLab.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a GitPulseProject, as `name` or `namespace/name`.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="Of GitPulseProjects: `name` or `namespace/name`.")]
Some = Annotated[
    list[str] | None, typer.Argument(metavar="NAME…", help="Of GitPulseProjects: `name` or `namespace/name`.")
]
OfGroup = Annotated[str, typer.Option("--project", metavar="PATH", help="Which, of a group's with a hook in each.")]
Wait = Annotated[bool, typer.Option("--wait", help="Until it is done, and tell how far it is.")]
Patience = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="At most so long.", min=0)]


@hooks.command("list")
@placed
async def list_hooks(view: View, output: Output = Format.TABLE) -> None:
    """List hooks: of which resource, target, id in GitLab, state, whether and why it delivers, secret."""
    rows = [hook.row() for hook in await hooks_of(view, await view.all(PROJECT))]
    show(rows, output, none="no hooks")


@hooks.command("show")
@placed
async def show_hook(
    view: View,
    project_name: Name,
    project: OfGroup = "",
    deliveries: Annotated[int, typer.Option(help="Of GitLab's log; 0: do not ask GitLab.", min=0, max=500)] = 5,
    output: Output = Format.TABLE,
) -> None:
    """Show all that is known of a hook: conditions, secret, repair, and GitLab's log of its last deliveries."""
    from gitpulse_cli.hook_deliveries import log_of

    hook = await the_hook(view, await view.find(PROJECT, project_name), project)
    log = None
    if deliveries and hook.id:
        try:
            with console.status("Asking GitLab"):
                log = await log_of(view, hook, limit=deliveries)
        except OperatorError as error:
            console.print(f"GitLab's log of it cannot be read: {error}")
    _show(hook, log, output)


def _show(hook: Hook, log: list[dict[str, object]] | None, output: Format) -> None:
    status = hook.status
    about: dict[str, object] = {
        **hook.row(),
        "instance": hook.target.get("instance"),
        **{part: status.get(part) for part in ("secret", "hooks", "repair")},
    }
    conditions = hook.conditions
    if output is not Format.TABLE:
        dump({**about, "conditions": conditions, "deliveries": log}, output)
        return
    repair = dict(mapping(about.pop("repair")))
    backfill = repair.pop("backfill", None)
    facts({**about, "repair": repair, "backfill": backfill})
    columns = ("type", "status", "reason", "lastTransitionTime", "message")
    show(conditions, output, columns=columns, title="Conditions")
    show(log or [], output, title="Last deliveries, by GitLab's log")


@hooks.command("test")
@placed
async def try_hook(
    view: View,
    project_name: Name,
    project: OfGroup = "",
    trigger: Annotated[
        str, typer.Option(metavar="EVENT", help="Such as push_events; else the first that GitLab can make.")
    ] = "",
    output: Output = Format.TABLE,
) -> int:
    """Have GitLab make a test delivery, and say what came of it; with GITPULSE_REDIS_URL set, at the receivers too.

    Exit code 0: it was delivered, and taken as far as can be told; 1: not.
    """
    from gitpulse_cli.hook_deliveries import try_out

    hook = await the_hook(view, await view.find(PROJECT, project_name), project)
    with console.status("GitLab delivers a test"):
        found = await try_out(view, hook, trigger)
    show([found], output)
    receivers = str(found["receivers"] or "accepted")
    return 0 if found["result"] == "delivered" and receivers.startswith("accepted") else 1


@hooks.command()
@placed
async def rotate(
    view: View,
    names: Some = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    connection: Annotated[str, typer.Option(metavar="NAME", help="All of this GitLabConnection.")] = "",
    wait: Wait = False,
    patience: Patience = 600,
) -> None:
    """Ask the operator for new secrets, which take the place of the old ones without a delivery being refused."""
    chosen, look = await asking.rotate(view, names or [], connection=connection, everything=everything)
    console.print(f"asked for {len(chosen)} new secrets")
    if wait:
        await asking.follow(view, chosen, look, seconds=patience)


@hooks.command()
@placed
async def revive(view: View, names: Names, wait: Wait = False, patience: Patience = 600) -> None:
    """Ask the operator to look at hooks now, and to switch on those that GitLab has switched off."""
    chosen, look = await asking.revive(view, names)
    console.print(f"asked for {len(chosen)} runs")
    if wait:
        await asking.follow(view, chosen, look, seconds=patience)


@hooks.command()
@placed
async def orphans(
    view: View,
    delete: Annotated[bool, typer.Option("--delete", help="Remove them from GitLab.")] = False,
    output: Output = Format.TABLE,
) -> int:
    """List hooks of this installation that no GitPulseProject wants any more, over all GitLabConnections.

    Exit code 0: none is left; 1: some are, or not everything could be looked at.
    """
    from gitpulse_cli.orphans import run

    return 0 if await run(view, delete=delete, output=output) else 1
