"""What people do to a project's code: push, tag, delete. Each action changes the repository and tells the hooks.

The time of an action is an argument, so that the past can be replayed; git runs in a thread, one action a project at
a time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from gitpulse_sim.clock import Stamp, spaced
from gitpulse_sim.deliver import Engine, Event
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.frame import PAYLOADS, Data, InProject
from gitpulse_sim.payloads.push import COMMITS_SHOWN, RefChange, push
from gitpulse_sim.payloads.work import merge_request
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit, Draft, Repository
from gitpulse_sim.world import Parent, Project, World


class Forge:
    """The doors through which a world changes."""

    def __init__(self, world: World, engine: Engine) -> None:
        self.world = world
        self.engine = engine
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """A project's turn to change."""

    def frame(self, project: Project, stamp: Stamp | None = None) -> InProject:
        """In which payloads are written: in the instance's own time, unless another shape is given."""
        instance, stamp = self.world.instance, stamp or spaced(self.world.instance.zone)
        return InProject(url=self.world.url, stamp=stamp, shapes=PAYLOADS, project=project, release=instance.release)

    async def tell(self, parent: Parent, toggle: str, data: Data, *, branch: str | None = None) -> None:
        """Lets the hooks of a project or group know what happened there."""
        await self.engine.emit(parent, Event(toggle=toggle, data=data, branch=branch))

    async def push(
        self,
        project: Project,
        user: User,
        branch: str,
        drafts: Sequence[Draft],
        *,
        onto: str | None = None,
        at: datetime | None = None,
    ) -> RefChange:
        """Commits to one branch, which is made where it is missing, from `onto` or the default branch.

        With `onto` given for a branch that exists, this is a force push.
        """
        return await self._change(project, user, partial(_write, project, branch, drafts, onto), at=at)

    async def push_all(self, project: Project, user: User, branches: Mapping[str, Sequence[Draft]]) -> None:
        """One push that moves several branches; of more than the instance's limit, no hook hears."""
        await self._change(project, user, *(partial(_write, project, *one, None) for one in branches.items()))

    async def branch_off(self, project: Project, user: User, names: Sequence[str]) -> None:
        """Makes branches at the default branch's newest commit, each by a push of its own. There may be a thousand."""
        tip = project.repository.tip(project.default_branch)
        for name in names:
            project.repository.point(f"refs/heads/{name}", tip)
            await self._announce(project, user, [RefChange(ref=f"refs/heads/{name}", before=ZEROS, after=tip)])

    async def merge_branches(
        self, project: Project, user: User, branches: Sequence[str], into: str, *, at: datetime, squash: bool = False
    ) -> RefChange:
        """Pushes a merge commit (of several branches: an octopus); with `squash` first all their changes as one."""
        repository, names = project.repository, ", ".join(f"'{branch}'" for branch in branches)

        def draft(onto: str, tips: Sequence[str], message: str, *, merges: Sequence[str]) -> Draft:
            changes = [line for tip in tips for line in repository.changes(repository.merge_base(onto, tip), tip)]
            return Draft(message=message, author=user.git, at=user.local(at), merges=merges, changes=changes)

        def merge() -> RefChange:
            before, tips = repository.tip(into), [repository.tip(branch) for branch in branches]
            ref = f"refs/heads/{into}"
            if squash:
                squashed = draft(before, tips, f"Squash {names}", merges=())
                tips = repository.commit("refs/keep-around/squashed", [squashed], onto=before)
            merged = draft(before, tips, f"Merge branch {names} into '{into}'", merges=tips)
            (after,) = repository.commit(ref, [merged], onto=before)
            return _moved(repository, ref, before, after, f"{before}..{after}")

        return await self._change(project, user, merge, at=at)

    async def rebase(self, project: Project, user: User, branch: str, *, at: datetime) -> RefChange:
        """Writes the branch's own commits again on top of the default branch, and pushes that with force."""

        def rebase() -> RefChange:
            before, onto = project.repository.tip(branch), project.repository.tip(project.default_branch)
            return _write(project, branch, _copies(project.repository, f"{onto}..{before}", user, at), onto)

        return await self._change(project, user, rebase, at=at)

    async def cherry_pick(self, project: Project, user: User, sha: str, branch: str, *, at: datetime) -> RefChange:
        """Writes one commit again on top of a branch: the same author and date, another committer."""
        drafts = await asyncio.to_thread(_copies, project.repository, sha, user, at, limit=1)
        return await self.push(project, user, branch, drafts, at=at)

    async def newest(self, project: Project, branch: str) -> Commit:
        """The branch's newest commit, without its paths. Raises BadRequest."""
        tip = project.repository.tip(branch)
        (found,) = await asyncio.to_thread(project.repository.log, tip, limit=1, paths=False)
        return found

    async def delete(self, project: Project, user: User, ref: str) -> RefChange:
        """Deletes a branch or tag, by its full name."""
        repository = project.repository
        return await self._change(project, user, lambda: RefChange(ref=ref, before=repository.delete(ref), after=ZEROS))

    async def tag(
        self, project: Project, user: User, name: str, *, at: datetime, target: str | None = None, message: str = ""
    ) -> RefChange:
        """Tags a commit (the default branch's newest); with a message the tag is an annotated one."""
        commit = target or project.repository.tip(project.default_branch)

        def tag() -> RefChange:
            made = project.repository.tag(name, commit, message=message, tagger=user.git, at=user.local(at))
            return RefChange(
                ref=f"refs/tags/{name}", before=ZEROS, after=made, checkout=commit, message=message or None
            )

        return await self._change(project, user, tag)

    async def _change(
        self, project: Project, user: User, *makes: Callable[[], RefChange], at: datetime | None = None
    ) -> RefChange:
        """One push; returns the first of its changes. Raises BadRequest where the project is archived."""
        if project.archived:
            raise BadRequest(f"{project.full_path} is archived, and so read-only")
        async with self._locks[project.id]:
            changes = await asyncio.to_thread(lambda: [make() for make in makes])
        await self._announce(project, user, changes, at)
        return changes[0]

    async def _announce(
        self, project: Project, user: User, changes: Sequence[RefChange], at: datetime | None = None
    ) -> None:
        if len(changes) > self.world.instance.push_event_hooks_limit:
            return
        for change in changes:
            if change.before == change.after:
                continue  # everything was up to date
            project.pushes.append((self.world.clock.now(), user, change))
            toggle = "tag_push_events" if change.is_tag else "push_events"
            await self.tell(project, toggle, push(self.frame(project), user, change), branch=change.branch)
            await self._update_merge_requests(project, user, change, at or self.world.clock.now())

    async def _update_merge_requests(self, project: Project, user: User, change: RefChange, at: datetime) -> None:
        """Code that is pushed to an open merge request is an event of its own, with `oldrev`."""
        if ZEROS in (change.before, change.after):
            return
        for request in project.merge_requests:
            if (request.state, request.source_branch) != ("opened", change.branch):
                continue
            newest = change.commits[-1] if change.commits else await self.newest(project, request.source_branch)
            request.last_commit, request.updated_at = newest, at
            project.repository.keep(newest.sha)
            data = merge_request(self.frame(project), user, request, "update", oldrev=change.before)
            await self.tell(project, "merge_requests_events", data)


def _write(project: Project, branch: str, drafts: Sequence[Draft], onto: str | None) -> RefChange:
    repository, ref = project.repository, f"refs/heads/{branch}"
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


def _copies(
    repository: Repository, revisions: str, user: User, at: datetime, *, limit: int | None = None
) -> list[Draft]:
    """Commits to be written again by somebody, oldest first."""
    return [
        Draft(
            message=one.message, author=one.author, at=one.at, committer=user.git, committed_at=user.local(at),
            changes=repository.changes(one.parents[0], one.sha),
        )
        for one in reversed(repository.log("--no-merges", revisions, limit=limit, paths=False))
    ]  # fmt: skip
