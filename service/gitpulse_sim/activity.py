"""Plausible work of a small team, as it would have happened over some days, told to the hooks now.

Each piece of work is a story: an async generator that acts at its current time and yields when it goes on. A heap of
stories keeps a project's history in order. The same seed and end make the same history of a project (numbers that the
whole instance shares may differ). Nothing is force-pushed or squashed, and every commit stays reachable, so that
`git log --all` is the truth about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import count
from random import Random

from gitpulse_sim import ci, discussions, words
from gitpulse_sim.errors import BadRequest
from gitpulse_sim.forge import Forge
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit, Draft, Person
from gitpulse_sim.work import Label, MergeRequest, PipelineStatus
from gitpulse_sim.world import Project

Story = AsyncGenerator[datetime, None]

OFFSETS = (60, 60, 120, -300, 60, 330)
"""Minutes east of UTC where each of the team works."""
STORIES_A_DAY = 4.5
"""On a working day; a tenth of it on a day of the weekend."""
PUSH_SIZES = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7, 12, 20)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    events: int
    """Deliveries so far."""
    fraction: float
    """Of the time to be replayed, 0 to 1."""


async def replay(
    forge: Forge,
    projects: Sequence[Project],
    *,
    days: int = 14,
    seed: int = 1,
    stories_a_day: float = STORIES_A_DAY,
    until: datetime | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int:
    """Lets a team work on the projects for so many days up to `until` (now); returns how many deliveries were made.

    Archived projects are left alone. All deliveries have been answered when it returns.
    """
    projects = [one for one in projects if not one.archived]
    end = until or forge.world.clock.now()
    start, before = end - timedelta(days=days), forge.engine.sent
    done = dict.fromkeys((project.id for project in projects), 0.0)

    def report(project: Project, now: datetime) -> None:
        done[project.id] = min(1.0, (now - start) / (end - start))
        progress(Progress(forge.engine.sent - before, sum(done.values()) / len(done)))

    histories = [
        _History(forge, project, Random(f"{seed} {project.full_path}"), stories_a_day)  # noqa: S311
        for project in projects
    ]
    await asyncio.gather(*(history.run(start, end, report) for history in histories))
    await forge.engine.idle()
    progress(Progress(forge.engine.sent - before, 1.0))
    return forge.engine.sent - before


class _History:
    """What happens in one project."""

    def __init__(self, forge: Forge, project: Project, random: Random, stories_a_day: float) -> None:
        self._forge, self._project, self._random = forge, project, random
        self._stories_a_day = stories_a_day
        members = {number for place in project.lineage() for number in place.members}
        self._team = [forge.world.users[number] for number in sorted(members)]
        if not self._team:
            raise BadRequest(f"{project.full_path} has no members who could work on it")
        self._zones = {
            user.id: timezone(timedelta(minutes=OFFSETS[number % len(OFFSETS)]))
            for number, user in enumerate(self._team)
        }
        self._order = count()
        self._stories: list[tuple[datetime, int, Story]] = []

    async def run(self, start: datetime, end: datetime, report: Callable[[Project, datetime], None]) -> None:
        """Plays all stories in the order of their times; what would happen after the end is left undone."""
        if self._project.repository.is_empty:
            await self._push(self._team[0], self._project.default_branch, start, commits=1)
        self._plan(start, end)
        try:
            while self._stories and self._stories[0][0] < end:
                at, _, story = heapq.heappop(self._stories)
                report(self._project, at)
                with contextlib.suppress(StopAsyncIteration):
                    self._add(await anext(story), story)
        finally:
            for _, _, story in self._stories:
                await story.aclose()

    def _add(self, at: datetime, story: Story) -> None:
        heapq.heappush(self._stories, (at, next(self._order), story))

    def _plan(self, start: datetime, end: datetime) -> None:
        random, day = self._random, start.date()
        while day <= end.date():
            busy = self._stories_a_day if day.weekday() < 5 else self._stories_a_day / 10
            for _ in range(int(busy + random.random())):
                author = random.choice(self._team)
                at = self._office_hour(author, day)
                tell = random.choices((self._feature, self._hotfix, self._issue), weights=(6, 1, 3))[0]
                if start + timedelta(hours=1) < at < end:
                    self._add(at, tell(author, at))
            day += timedelta(days=1)

    async def _feature(self, author: User, at: datetime) -> Story:
        """A branch, its merge request, the review, and how it ends."""
        random, forge, project = self._random, self._forge, self._project
        title = words.title(random)
        branch = f"{words.slug(title)}-{self._number()}"
        commit = await self._push(author, branch, at, commits=random.choice(PUSH_SIZES))
        yield (at := self._later(author, at, minutes=20))
        reviewer = random.choice([user for user in self._team if user != author])
        request = await discussions.open_merge_request(
            forge, project, author, branch, title=title, at=at, reviewers=[reviewer],
            description=words.sentence(random), labels=[self._label("backend", "frontend", "docs")],
        )  # fmt: skip
        self._add(at, self._pipeline(author, branch, commit, at, request))
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            yield (at := self._later(reviewer, at, minutes=150))
            await discussions.comment(forge, project, reviewer, request, words.sentence(random), at=at)
            yield (at := self._later(author, at, minutes=90))
            commit = await self._push(author, branch, at, commits=random.choice(PUSH_SIZES[:8]))
            self._add(at, self._pipeline(author, branch, commit, at, request))
        yield (at := self._later(reviewer, at, minutes=200))
        if random.random() < 0.12:
            await discussions.close(forge, project, author, request, at=at)
            return
        await discussions.approve(forge, project, reviewer, request, at=at)
        yield (at := self._later(author, at, minutes=45))
        await discussions.merge(forge, project, author, request, at=at)
        merged = await forge.newest(project, project.default_branch)
        self._add(at, self._pipeline(author, project.default_branch, merged, at, None))

    async def _hotfix(self, author: User, at: datetime) -> Story:
        """Straight to the default branch, and sometimes a tag for it."""
        commit = await self._push(author, self._project.default_branch, at, commits=self._random.choice((1, 1, 2)))
        self._add(at, self._pipeline(author, self._project.default_branch, commit, at, None))
        if self._random.random() < 0.5:
            yield (at := self._later(author, at, minutes=30))
            await self._forge.tag(self._project, author, f"v1.{self._number()}.0", at=at, message="A release")

    async def _issue(self, author: User, at: datetime) -> Story:
        """An issue, some talk, and mostly an end."""
        random, forge, project = self._random, self._forge, self._project
        issue = await discussions.open_issue(
            forge, project, author, title=words.title(random), at=at, description=words.sentence(random),
            labels=[self._label("bug", "wish")],
        )  # fmt: skip
        for _ in range(random.randint(0, 3)):
            somebody = random.choice(self._team)
            yield (at := self._later(somebody, at, minutes=240))
            await discussions.comment(forge, project, somebody, issue, words.sentence(random), at=at)
        if random.random() < 0.7:
            yield (at := self._later(author, at, minutes=900))
            await discussions.close(forge, project, author, issue, at=at)

    async def _pipeline(
        self, user: User, ref: str, commit: Commit, at: datetime, request: MergeRequest | None
    ) -> Story:
        """Runs whatever the hour; three of four are green."""
        forge, project, random = self._forge, self._project, self._random
        pipeline = await ci.start_pipeline(forge, project, user, ref, commit=commit, at=at, merge_request=request)
        yield (at := at + timedelta(seconds=random.randint(3, 90)))
        await ci.run_pipeline(forge, project, pipeline, at=at)
        yield (at := at + timedelta(seconds=random.randint(60, 900)))
        results: tuple[PipelineStatus, ...] = ("success", "failed", "canceled")
        await ci.finish_pipeline(forge, project, pipeline, random.choices(results, weights=(15, 4, 1))[0], at=at)

    async def _push(self, author: User, branch: str, at: datetime, *, commits: int) -> Commit:
        random = self._random
        local = at.astimezone(self._zones[author.id])
        # one of the team commits from a second machine now and then, under another address
        elsewhere = author is self._team[-1] and random.random() < 0.3
        person = Person(author.name, f"{author.username}@home.example" if elsewhere else author.email)
        drafts = [
            Draft(
                message=f"{words.title(random)}\n\n{words.sentence(random)}\n",
                author=person,
                at=local - timedelta(seconds=40 * (commits - number)),
                files={path: f"{words.sentence(random)}\n" for path in words.paths(random)},
            )
            for number in range(1, commits + 1)
        ]
        change = await self._forge.push(self._project, author, branch, drafts)
        return change.commits[-1]

    def _later(self, user: User, at: datetime, *, minutes: int) -> datetime:
        """About so much later; what falls into the evening waits until the next morning."""
        after = at + timedelta(minutes=minutes * (0.3 + self._random.expovariate(1)))
        local = after.astimezone(self._zones[user.id])
        if 8 <= local.hour < 19:
            return after
        return self._office_hour(user, local.date() + timedelta(days=local.hour >= 19))

    def _office_hour(self, user: User, day: date) -> datetime:
        morning = datetime.combine(day, time(9), self._zones[user.id])
        return (morning + timedelta(minutes=self._random.triangular(0, 540, 150))).astimezone(UTC)

    def _number(self) -> int:
        """One that no branch or tag of this project has yet."""
        return self._forge.world.next_id(f"story of {self._project.full_path}")

    def _label(self, *titles: str) -> Label:
        return self._forge.world.label(self._project, self._random.choice(titles))
