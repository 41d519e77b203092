"""`gitpulse hooks orphans`: shows what was left behind in GitLab, and removes it if that is asked for."""

from __future__ import annotations

from gitpulse_cli.output import Format, console, show
from gitpulse_cli.places import View
from gitpulse_operator.composition import assembled
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.reconcile.orphans import find_orphans
from gitpulse_operator.settings import OperatorSettings


async def run(view: View, *, delete: bool, output: Format) -> bool:
    """Prints them; whether none is left, as far as all could be looked at. Raises SettingsError, OperatorError."""
    settings, cluster = OperatorSettings.load(), view.cluster()
    async with assembled(settings, cluster) as world:
        with console.status("Looking for hooks") as line:
            scan = await find_orphans(
                world,
                namespaces=view.namespaces,
                tell=lambda url, done, total: line.update(f"{url}: {done} of {total} projects and groups"),
            )
            rows = []
            for orphan in scan.orphans:
                about = {"instance": orphan.place.instance, "path": orphan.place.parent.path, "hook": orphan.hook}
                rows.append({**about, "name": orphan.name, "why": orphan.why, "deleted": False})
                try:
                    if delete:
                        await orphan.delete()
                        rows[-1]["deleted"] = True
                except OperatorError as error:
                    scan.troubles.append(str(error))
    show(rows, output)
    for trouble in scan.troubles:
        console.print(f"gitpulse: {trouble}", style="yellow")
    left = sum(not row["deleted"] for row in rows)
    console.print(f"{len(rows)} orphans in {scan.places} projects and groups, {left} left")
    return not left and not scan.troubles
