"""The people of a project: what they write, what they have before them, and the clock that their work goes by."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from gitpulse_sim import ci, words
from gitpulse_sim.clock import Clock
from gitpulse_sim.discussions import Discussed
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.forge import Forge
from gitpulse_sim.repository import Draft, Person
from gitpulse_sim.work import FINAL_STATUSES, Job, Label, MergeRequest, Pipeline
from gitpulse_sim.world import Project

T = TypeVar("T")

PLACES = ("production", "production-eu", "staging", "review/one")
SECOND_MACHINE = "home.example"


class Team:
    """`calm`: nothing is lost or left undone, and every commit stays reachable. Raises BadRequest without members."""

    def __init__(self, forge: Forge, project: Project, random: Random, clock: Clock, *, calm: bool) -> None:
        self.forge, self.project, self.random, self.clock, self.calm = forge, project, random, clock, calm
        members = sorted({number for place in project.lineage() for number in place.members})
        if not members:
            raise BadRequest(f"{project.full_path} has no members who could work on it")
        self.members = [forge.world.users[number] for number in members]
        self.who = self.members[0]
        """Whose turn it is."""

    @property
    def branches(self) -> list[str]:
        """But the default one."""
        names = [ref.removeprefix("refs/heads/") for ref in self.project.repository.tips if "refs/heads/" in ref]
        return [name for name in names if name != self.project.default_branch]

    @property
    def all_branches(self) -> list[str]:
        return [self.project.default_branch, *self.branches]

    @property
    def free_branches(self) -> list[str]:
        """Those that no open merge request needs."""
        needed = {one.source_branch for one in self.open_requests}
        return [name for name in self.branches if name not in needed]

    @property
    def tags(self) -> list[str]:
        return [ref.removeprefix("refs/tags/") for ref in self.project.repository.tips if "refs/tags/" in ref]

    @property
    def open_requests(self) -> list[MergeRequest]:
        return [one for one in self.project.merge_requests if one.state == "opened"]

    @property
    def discussed(self) -> list[Discussed]:
        return [*self.project.merge_requests, *self.project.issues]

    @property
    def jobs(self) -> list[Job]:
        """The newest of each name, in the newest pipelines."""
        return [job for one in self.project.pipelines[-20:] for job in one.jobs]

    def later(self, seconds: float) -> datetime:
        """Lets about so much time pass."""
        return self.clock.advance(round(self.random.uniform(0.2, 2) * seconds, 3))

    def wildly(self, chance: float) -> bool:
        return not self.calm and self.random.random() < chance

    def some(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def new(self, what: str) -> str:
        """A name that no branch or tag of this project has yet."""
        return f"{what}{self.forge.world.next_id(f'name in {self.project.full_path}')}"

    def labels(self) -> list[Label]:
        titles = self.random.sample(("bug", "wish", "docs", "Übersetzung"), self.some(0, 2))
        return [self.forge.world.label(self.project, title) for title in titles]

    async def push(self, branch: str, commits: int, *, onto: str | None = None) -> None:
        tips, at = self.project.repository.tips, self.later(60)
        start = onto or tips.get(f"refs/heads/{branch}") or tips.get(f"refs/heads/{self.project.default_branch}")
        await self.forge.push(self.project, self.who, branch, self.drafts(start, commits), onto=onto, at=at)

    def drafts(self, start: str | None, commits: int) -> list[Draft]:
        """Commits on top of one: new, changed, renamed and removed files, or none; of a calm team the first two."""
        random, now, who = self.random, self.clock.now(), self.who
        listed = self.project.repository.git("ls-tree", "-r", "--name-only", "-z", start) if start else ""
        known = [path for path in listed.split("\0") if path]
        made = []
        for ago in range(commits, 0, -1):
            files: dict[str, str | None] = {path: f"{words.sentence(random)}\n" * 3 for path in words.paths(random)}
            renames = {}
            if known and self.wildly(0.3):
                path = known.pop(random.randrange(len(known)))
                new = random.choice((None, f"moved/{random.getrandbits(32):x} é.txt"))
                if new:
                    renames[path] = new
                files = {**files, path: None} if not new else {p: text for p, text in files.items() if p != path}
            if self.wildly(0.05):
                files, renames = {}, {}
            elsewhere = who is self.members[-1] and random.random() < 0.3
            author = Person(who.name, f"{who.username}@{SECOND_MACHINE}", who.encoding) if elsewhere else who.git
            message = f"{words.title(random)}\n\n{words.sentence(random)}\n"
            if self.wildly(0.2):
                other = random.choice(self.members)
                message += f"\nCo-authored-by: {other.name} <{other.email}>\n"
            at = who.local(now - timedelta(seconds=40 * ago))
            since = timedelta(hours=self.some(0, 99)) if self.wildly(0.2) else timedelta()
            made.append(Draft(message=message, author=author, at=at - since, committed_at=at, files=files,
                              renames=renames))  # fmt: skip
        return made

    async def run(self, request: MergeRequest | None) -> None:
        """A pipeline of a merge request, or of the default branch, which it may deploy."""
        ref = request.source_branch if request else self.project.default_branch
        stages = ci.STAGES if request or self.random.random() < 0.6 else {**ci.STAGES, "deploy": ("deploy",)}
        commit, at = await self.forge.newest(self.project, ref), self.later(5)
        await self.go_on(
            await ci.start_pipeline(
                self.forge, self.project, self.who, ref, commit=commit, at=at, merge_request=request, stages=stages
            )
        )

    async def go_on(self, pipeline: Pipeline) -> None:
        """Runs what waits, stage by stage, until all is done or (in a wild team, the first time) for ever."""
        first = len(pipeline.jobs) == len(pipeline.all_jobs)
        while waiting := [job for job in pipeline.jobs if job.status == "pending"]:
            for job in waiting:
                status = "canceled" if self.wildly(0.04) else "running"
                await ci.step(self.forge, self.project, job, status, at=self.later(20))
                if status == "running" and job.stage == "deploy":
                    place = self.random.choice(PLACES)
                    at, ref, commit = self.clock.now(), pipeline.source_ref, pipeline.commit
                    await ci.deploy(self.forge, self.project, job.user, place, at=at, ref=ref, commit=commit, job=job)
            for job in self.random.sample(waiting, len(waiting)):
                if first and self.wildly(0.05):
                    return
                if job.status == "running":
                    await ci.step(self.forge, self.project, job, self.result(), at=self.later(200))

    def result(self) -> str:
        return self.random.choices(FINAL_STATUSES, weights=(15, 3, 1))[0]
