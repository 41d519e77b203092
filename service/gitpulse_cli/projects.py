"""`gitpulse projects`: how each GitPulseProject stands."""

from __future__ import annotations

from typing import Annotated

import typer

from gitpulse_cli.output import Format, Output, show
from gitpulse_cli.places import View, name, placed
from gitpulse_operator.domain.conditions import DELIVERING, READY, find
from gitpulse_operator.names import PROJECT
from gitpulse_operator.reconcile.resource import Resource, mapping

COLUMNS = ("project", "target", "ready", "delivering", "hooks", "rotation", "reason")
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="As `name` or `namespace/name`; else all.")]


@placed
async def projects(view: View, names: Names = None, output: Output = Format.TABLE) -> None:
    """List GitPulseProjects: target, whether it is ready and delivers, hooks, rotation, and why.

    JSON and YAML have the message of `Ready` too, which says what to do.
    """
    found = [await view.find(PROJECT, each) for each in names] if names else await view.all(PROJECT)
    rows = [row(resource) for resource in found]
    if output is Format.TABLE:
        rows = [{**each, "hooks": f"{each['installed']}/{each['desired']}"} for each in rows]
    show(rows, output, columns=COLUMNS, none="no GitPulseProjects")


def row(resource: Resource) -> dict[str, object]:
    """What a list shows of it."""
    ready, delivering = (find(resource.conditions, kind) for kind in (READY, DELIVERING))
    status, hooks = resource.status, mapping(resource.status.get("hooks"))
    wanted = resource.spec.get("project") or resource.spec.get("group")
    return {
        "project": name(resource),
        "target": mapping(status.get("target")).get("path") or wanted,
        "ready": ready.status if ready else "Unknown",
        "delivering": delivering.status if delivering else "Unknown",
        **{state: hooks.get(state, 0) for state in ("desired", "installed", "disabled", "failing")},
        "rotation": mapping(status.get("secret")).get("phase"),
        "reason": ready.reason if ready else "NotReconciled",
        "message": ready.message if ready else None,
    }
