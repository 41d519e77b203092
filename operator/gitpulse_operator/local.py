"""The operator without Kubernetes: what the files of a folder say is shown to the same `Control` that kopf feeds.

One process at a time looks after a state; see `held`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from gitpulse_operator.adapters.manifests import FolderCluster, ManifestInvalid
from gitpulse_operator.agenda import ended
from gitpulse_operator.control import CLEANUP_RETRY, Control
from gitpulse_operator.errors import DirectoryUnavailable, OperatorError
from gitpulse_operator.names import CONNECTION
from gitpulse_operator.reconcile.resource import Body, Ref, Resource
from gitpulse_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between looks at the files. What two of them see alike is read: nobody is writing just now."""
LAST_BREATH = 20.0
"""Seconds for the programs of one who was killed to end, as they do then by themselves."""
START_RETRY = 2.0
"""Seconds between tries to begin while Redis does not answer."""


class StateInUse(OperatorError):
    """Another process looks after it."""


async def look_after(settings: OperatorSettings, cluster: FolderCluster) -> None:
    """Keeps GitLab as the files say, until it is cancelled. What is wrong with files is logged, and waited for.

    The cluster need not have been read.
    """
    stamp = await _readable(cluster)
    while True:
        try:
            async with Control.started(settings, cluster, away=True) as control:
                await _Follower(cluster, control).follow(stamp)
        except DirectoryUnavailable as error:
            logger.warning("%s (again in %.0f s)", error, START_RETRY)
            await asyncio.sleep(START_RETRY)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[int]:
    """Makes a folder for state, its owner's alone, and keeps others from it until the block ends.

    Yields a file descriptor; a program that inherits it holds the folder too. Raises StateInUse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if not (ignored := folder / ".gitignore").exists():
        ignored.write_text("*\n")
    with (folder / "lock").open("a+") as lock:
        patience = time.monotonic() + LAST_BREATH
        while not _locked(lock):
            lock.seek(0)
            holder = int(lock.read() or 0)
            if _lives(holder) or time.monotonic() > patience:
                raise StateInUse(
                    f"{folder} is in use: another `gitpulse up` or operator (process {holder}) looks after it"
                )
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(process)


async def _readable(cluster: FolderCluster) -> tuple[object, ...]:
    """Waits until the files can be read. Returns what they looked like then."""
    tried: tuple[object, ...] | None = None
    while True:
        if (stamp := cluster.stamp()) != tried:
            tried = stamp
            try:
                cluster.load()
            except ManifestInvalid as error:
                logger.error("%s; nothing is looked after until this is put right", error)  # noqa: TRY400
            else:
                return stamp
        await asyncio.sleep(LOOK)


class _Follower:
    """Takes up what has changed in the files, as watches would show it."""

    def __init__(self, cluster: FolderCluster, control: Control) -> None:
        self._cluster, self._control = cluster, control
        self._shown: dict[Ref, Body] = {}
        self._leaving: dict[Ref, asyncio.Task[None]] = {}

    async def follow(self, taken: tuple[object, ...]) -> None:
        """Until it is cancelled; `taken`: what the files looked like when they were last read."""
        try:
            await self._show()
            before = taken
            while True:
                await asyncio.sleep(LOOK)
                if (now := self._cluster.stamp()) == before != taken:
                    taken = now
                    await self._take_up()
                before = now
        finally:
            await ended(*self._leaving.values())

    async def _take_up(self) -> None:
        try:
            secrets = self._cluster.load()
        except ManifestInvalid as error:
            logger.error("%s; all is looked after as it was before", error)  # noqa: TRY400
            return
        await self._show()
        for namespace, name in sorted(secrets):
            self._control.secret_changed(namespace, name)

    async def _show(self) -> None:
        """As after a new list: what is new or has changed is for `Control` to tell."""
        before, self._shown = self._shown, {}
        for ref in self._cluster.refs():
            body = await self._cluster.read(ref)
            assert body is not None
            if leaving := self._leaving.pop(ref, None):  # it is there again
                await ended(leaving)
                self._control.gone(body)
            self._shown[ref] = body
            self._control.seen(body)
        removed = {Resource.from_body(body).ref: body for body in self._cluster.removed(datetime.now(UTC))}
        for ref, body in removed.items():
            if ref not in self._leaving:
                self._control.seen(body)
                self._leaving[ref] = asyncio.create_task(self._leave(ref, body))
        for ref in before.keys() - self._shown.keys() - removed.keys():
            self._control.gone(before[ref])
            if ref.kind == CONNECTION:
                await self._control.revoke(before[ref])

    async def _leave(self, ref: Ref, body: Body) -> None:
        """What kopf does for a deleted project while our finalizer holds it."""
        told = False
        while True:
            try:
                await self._control.clean_up(body)
                break
            except OperatorError as error:
                if not told:
                    await self._control.delayed(body, error)
                told = True
                await asyncio.sleep(error.retry_after or CLEANUP_RETRY)
        self._cluster.forget(ref)
        self._control.gone(body)
        self._leaving.pop(ref, None)
