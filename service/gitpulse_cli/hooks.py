"""`gitpulse hooks orphans`: shows what was left behind in GitLab, and removes it if that is asked for."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gitpulse_operator.adapters.kube import KubeCluster
from gitpulse_operator.adapters.manifests import FolderCluster
from gitpulse_operator.composition import assembled
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.reconcile.orphans import find_orphans
from gitpulse_operator.reconcile.ports import Cluster
from gitpulse_operator.settings import OperatorSettings

console = Console(stderr=True, highlight=False, soft_wrap=True)
COLUMNS = ("instance", "path", "hook", "name", "why", "deleted")


async def orphans(*, folder: Path | None, state: Path | None, delete: bool, as_json: bool) -> int:
    """Returns the exit code: 0 if none is left, 1 if some are, 2 if some may be where we could not look.

    Raises what keeps us from reading settings or resources.
    """
    settings = OperatorSettings.load()
    async with _cluster(settings, folder, state) as cluster, assembled(settings, cluster) as world:
        with console.status("Looking for hooks") as line:
            scan = await find_orphans(
                world,
                namespaces=() if folder else settings.namespaces,
                tell=lambda url, done, total: line.update(f"{url}: {done} of {total} projects and groups"),
            )
            rows = []
            for orphan in scan.orphans:
                about = (orphan.place.instance, orphan.place.parent.path, orphan.hook, orphan.name, orphan.why)
                rows.append(dict(zip(COLUMNS, (*about, False), strict=True)))
                try:
                    if delete:
                        await orphan.delete()
                        rows[-1]["deleted"] = True
                except OperatorError as error:
                    scan.troubles.append(str(error))
    if as_json:
        sys.stdout.write(json.dumps({"places": scan.places, "orphans": rows, "troubles": scan.troubles}) + "\n")
    elif rows:
        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*("yes" if cell is True else "" if cell is False else str(cell) for cell in row.values()))
        Console().print(table)
    for trouble in scan.troubles:
        console.print(f"gitpulse: {trouble}", style="yellow", markup=False)
    left = sum(not row["deleted"] for row in rows)
    console.print(f"{len(rows)} orphans in {scan.places} projects and groups, {left} left")
    return 1 if left else 2 if scan.troubles else 0


@contextlib.asynccontextmanager
async def _cluster(settings: OperatorSettings, folder: Path | None, state: Path | None) -> AsyncIterator[Cluster]:
    if folder:
        yield FolderCluster([folder], state or folder / "state.json")
        return
    kube = await KubeCluster.connect(namespaces=settings.namespaces)
    try:
        yield kube
    finally:
        await kube.close()
