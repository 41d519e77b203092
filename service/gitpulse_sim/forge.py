"""What people do to a project's code: push, tag, delete. Each action changes the repository and tells the hooks.

The time of an action is an argument, so that the past can be replayed; git runs in a thread, one action a project at
a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from gitpulse_sim.clock import spaced
from gitpulse_sim.deliver import Engine, Event
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.payloads.push import COMMITS_SHOWN, RefChange, push
from gitpulse_sim.payloads.work import merge_request
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit, Draft, Person, Repository
from gitpulse_sim.world import Parent, Project, World


class Forge:
    """The doors through which a world changes."""

    def __init__(self, world: World, engine: Engine) -> None:
        self.world = world
        self.engine = engine
        self._locks: dict[int, asyncio.Lock] = {}

    @property
    def frame(self) -> Frame:
        return Frame(url=self.world.url, stamp=spaced(self.world.instance.zone), release=self.world.instance.release)

    async def tell(self, parent: Parent, toggle: str, data: Data, *, branch: str | None = None) -> None:
        """Lets the hooks of a project or group know what happened there."""
        await self.engine.emit(parent, Event(toggle=toggle, data=data, branch=branch))

    async def push(
        self, project: Project, user: User, branch: str, drafts: Sequence[Draft], *, onto: str | None = None
    ) -> RefChange:
        """Commits to one branch, which is made where it is missing, from `onto` or the default branch.

        With `onto` given for a branch that exists, this is a force push.
        """
        return (await self.push_all(project, user, {branch: drafts}, onto=onto))[0]

    async def push_all(
        self, project: Project, user: User, branches: Mapping[str, Sequence[Draft]], *, onto: str | None = None
    ) -> list[RefChange]:
        """One push that moves several branches; of more than the instance's limit, no hook hears."""
        async with self._lock(project):
            changes = [
                await asyncio.to_thread(_write, project, f"refs/heads/{branch}", drafts, onto)
                for branch, drafts in branches.items()
            ]
        await self._announce(project, user, changes)
        return changes

    async def merge_branch(self, project: Project, user: User, branch: str, into: str, *, at: datetime) -> RefChange:
        """Makes the merge commit of a merge request."""
        author, message = Person(user.name, user.email), f"Merge branch '{branch}' into '{into}'"

        def merge() -> RefChange:
            before = project.repository.tip(into)
            after = project.repository.merge(branch, into, message=message, author=author, at=at)
            return _moved(project.repository, f"refs/heads/{into}", before, after, f"{before}..{after}")

        return await self._change(project, user, merge)

    async def newest(self, project: Project, branch: str) -> Commit:
        """The branch's newest commit, without its paths. Raises BadRequest."""
        tip = project.repository.tip(branch)
        (found,) = await asyncio.to_thread(project.repository.log, tip, limit=1, paths=False)
        return found

    async def delete(self, project: Project, user: User, ref: str) -> RefChange:
        """Deletes a branch or tag, by its full name."""

        def delete() -> RefChange:
            return RefChange(ref=ref, before=project.repository.delete(ref), after=ZEROS)

        return await self._change(project, user, delete)

    async def tag(
        self, project: Project, user: User, name: str, *, at: datetime, target: str | None = None, message: str = ""
    ) -> RefChange:
        """Tags a commit (the default branch's newest); with a message the tag is an annotated one."""
        commit = target or project.repository.tip(project.default_branch)
        ref, tagger = f"refs/tags/{name}", Person(user.name, user.email)

        def tag() -> RefChange:
            made = project.repository.tag(name, commit, message=message, tagger=tagger, at=at)
            return RefChange(ref=ref, before=ZEROS, after=made, checkout=commit, message=message or None)

        return await self._change(project, user, tag)

    async def _change(self, project: Project, user: User, make: Callable[[], RefChange]) -> RefChange:
        async with self._lock(project):
            change = await asyncio.to_thread(make)
        await self._announce(project, user, [change])
        return change

    async def _announce(self, project: Project, user: User, changes: Sequence[RefChange]) -> None:
        if len(changes) > self.world.instance.push_event_hooks_limit:
            return
        for change in changes:
            project.pushes.append((self.world.clock.now(), user, change))
            toggle = "tag_push_events" if change.is_tag else "push_events"
            await self.tell(project, toggle, push(self.frame, project, user, change), branch=change.branch)
            await self._update_merge_requests(project, user, change)

    async def _update_merge_requests(self, project: Project, user: User, change: RefChange) -> None:
        """Code that is pushed to an open merge request is an event of its own, with `oldrev`."""
        for request in project.merge_requests:
            if not change.commits or (request.state, request.source_branch) != ("opened", change.branch):
                continue
            request.last_commit = change.commits[-1]
            request.updated_at = request.last_commit.at
            data = merge_request(self.frame, project, user, request, "update", oldrev=change.before)
            await self.tell(project, "merge_requests_events", data)

    def _lock(self, project: Project) -> asyncio.Lock:
        """The project's turn to change. Raises BadRequest where it is archived."""
        if project.archived:
            raise BadRequest(f"{project.full_path} is archived, and so read-only")
        return self._locks.setdefault(project.id, asyncio.Lock())


def _write(project: Project, ref: str, drafts: Sequence[Draft], onto: str | None) -> RefChange:
    repository = project.repository
    default = repository.tips.get(f"refs/heads/{project.default_branch}")
    before = repository.tips.get(ref)
    start = onto or before or default
    if drafts:
        after = repository.commit(ref, drafts, onto=start)[-1]
    else:
        assert start is not None, "an empty repository has nothing to branch from"
        repository.point(ref, after := start)
    known = before or default  # a new branch shows what the default branch has not
    return _moved(repository, ref, before or ZEROS, after, f"{known}..{after}" if known else after)


def _moved(repository: Repository, ref: str, before: str, after: str, new: str) -> RefChange:
    commits = repository.log(new, limit=COMMITS_SHOWN)
    total = len(commits) if len(commits) < COMMITS_SHOWN else repository.count(new)
    return RefChange(ref=ref, before=before, after=after, commits=commits[::-1], total=total)
