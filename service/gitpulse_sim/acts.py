"""What somebody may do next in a project: a table of acts, each on a thing that is there, picked at random.

A calm team (the demo's) loses no commit, so that nothing has to be asked for afterwards; a wild one does all that git
and GitLab allow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gitpulse_sim import ci, discussions, releases, words
from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS
from gitpulse_sim.team import PLACES, Team
from gitpulse_sim.work import Issue, Job, Release

PUSH_SIZES = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7, 12, 20)
ISSUES = ("Issue", "Issue", "Issue", "Incident", "Task")


@dataclass(frozen=True, slots=True)
class Act:
    """What is done to one of the things, by whose turn it is."""

    calm: float
    """How likely it is in a calm team."""
    wild: float
    things: Callable[[Team], Sequence[Any]]
    do: Callable[[Team, Any, datetime], Awaitable[object]]


async def act(team: Team, who: User) -> None:
    """Lets somebody do one thing. The very first is a commit."""
    team.who = who
    if team.project.repository.is_empty:
        return await team.push(team.project.default_branch, 1)
    weights = [one.calm if team.calm else one.wild for one in ACTS]
    for one in team.random.choices(ACTS, weights, k=50):
        if things := one.things(team):
            await one.do(team, team.random.choice(things), team.later(60))
            return None
    return None


async def _rebase(team: Team, branch: str, at: datetime) -> None:
    own = team.project.repository.count("--no-merges", f"{team.project.default_branch}..refs/heads/{branch}")
    if 0 < own < 25:
        await team.forge.rebase(team.project, team.who, branch, at=at)


async def _rewind(team: Team, branch: str, at: datetime) -> None:
    """Takes back the newest commits of a branch, and perhaps writes others."""
    onto = team.project.repository.resolve(f"refs/heads/{branch}~{team.some(1, 3)}")
    if onto and (commits := team.some(0, 3)):
        await team.push(branch, commits, onto=onto)
    elif onto:
        await team.forge.push(team.project, team.who, branch, [], onto=onto, at=at)


async def _flap(team: Team, branch: str, at: datetime) -> None:
    """Takes a push back, and makes it again."""
    tip = team.project.repository.tip(branch)
    for _, who, change in team.project.pushes:
        if change.branch == branch and change.after == tip and change.before != ZEROS:
            for onto in (change.before, change.after):
                await team.forge.push(team.project, who, branch, [], onto=onto, at=at)
            return


async def _octopus(team: Team, into: str, at: datetime) -> None:
    """Merges one branch or several into another, without a merge request."""
    tips = team.project.repository.tips
    found = {tips[f"refs/heads/{one}"]: one for one in team.free_branches}
    found.pop(tips[f"refs/heads/{into}"], None)
    if found:
        branches = team.random.sample(list(found.values()), min(len(found), team.some(1, 4)))
        await team.forge.merge_branches(team.project, team.who, branches, into, at=at)


async def _pick(team: Team, branch: str, at: datetime) -> None:
    """Writes another branch's commit again."""
    known = team.project.repository.log("--branches", "--no-merges", limit=30, paths=False)
    if written := [one for one in known if one.parents]:
        await team.forge.cherry_pick(team.project, team.who, team.random.choice(written).sha, branch, at=at)


async def _request(team: Team, branch: str, at: datetime) -> None:
    await discussions.open_merge_request(
        team.forge, team.project, team.who, branch, title=words.title(team.random), at=at,
        description=words.sentence(team.random), reviewers=team.random.sample(team.members, 1), labels=team.labels(),
        approvals_required=1 if team.calm else team.some(1, 2),
    )  # fmt: skip


async def _issue(team: Team, kind: str, at: datetime) -> None:
    await discussions.open_issue(
        team.forge, team.project, team.who, title=words.title(team.random), at=at, labels=team.labels(),
        description=words.sentence(team.random), type_=kind, confidential=team.wildly(0.1),
    )  # fmt: skip


async def _comment(team: Team, target: discussions.Discussed, at: datetime) -> None:
    """By anybody, a bot or the author too; now and then on a commit."""
    on = await team.forge.newest(team.project, team.project.default_branch) if team.wildly(0.1) else target
    who = team.random.choice(list(team.forge.world.users.values())) if team.wildly(0.3) else team.who
    await discussions.comment(team.forge, team.project, who, on, words.sentence(team.random), at=at)


async def _retry(team: Team, job: Job, at: datetime) -> None:
    await ci.retry(team.forge, team.project, team.who, job, at=at)
    await team.go_on(job.pipeline)


async def _deploy(team: Team, place: str, at: datetime) -> None:
    """By a call of the API."""
    commit = await team.forge.newest(team.project, team.project.default_branch)
    one = await ci.deploy(team.forge, team.project, team.who, place, at=at, commit=commit)
    if not team.wildly(0.1):
        await ci.change_deployment(team.forge, team.project, one, team.result(), at=team.later(200))


async def _release(team: Team, tag: str, at: datetime) -> None:
    then = at + timedelta(days=team.some(-9, 9)) if team.wildly(0.3) else None
    await releases.create(team.forge, team.project, team.who, tag, at=at, released_at=then)


async def _revise(team: Team, one: Release, at: datetime) -> None:
    if team.some(0, 1):
        return await releases.delete(team.forge, team.project, one)
    one.name, one.released_at = words.title(team.random), at
    return await releases.tell(team.forge, team.project, one, "update")


def _unreleased(team: Team) -> list[str]:
    released = {one.tag_name for one in team.project.releases}
    return [tag for tag in team.tags if tag not in released]


def _closed(team: Team) -> list[discussions.Discussed]:
    """What can be opened again."""
    there = [one for one in team.discussed if isinstance(one, Issue) or one.source_branch in team.free_branches]
    return [one for one in there if one.state == "closed"]


# fmt: off
ACTS = (
    Act(5, 7, lambda t: (t.branches if t.calm and t.some(0, 2) else ()) or t.all_branches,
        lambda t, branch, _: t.push(branch, t.random.choice(PUSH_SIZES[:8] if t.calm else PUSH_SIZES))),
    Act(9, 8, lambda t: [t.new("topic-")], lambda t, branch, _: t.push(branch, t.random.choice(PUSH_SIZES))),
    Act(0, 0.4, lambda t: t.all_branches, lambda t, branch, _: t.push(branch, t.some(21, 600))),
    Act(0, 1, lambda t: [t.new("empty-")], lambda t, name, _: t.forge.branch_off(t.project, t.who, [name])),
    Act(0, 0.1, lambda t: [t.some(100, 1000)],
        lambda t, count, _: t.forge.branch_off(t.project, t.who, [t.new("many/") for _ in range(count)])),
    Act(0, 4, lambda t: t.branches, _rebase),
    Act(0, 3, lambda t: t.branches if t.some(0, 9) else t.all_branches, _rewind),
    Act(0, 1, lambda t: t.all_branches, _flap),
    Act(0, 3, lambda t: t.free_branches,
        lambda t, branch, _: t.forge.delete(t.project, t.who, f"refs/heads/{branch}")),
    Act(0, 2, lambda t: t.all_branches, _octopus),
    Act(0, 2, lambda t: t.all_branches, _pick),
    Act(2, 2, lambda t: [("", "New")[t.some(0, 1)]],
        lambda t, message, at: t.forge.tag(t.project, t.who, t.new("v1."), at=at, message=message)),
    Act(0, 1, _unreleased, lambda t, tag, _: t.forge.delete(t.project, t.who, f"refs/tags/{tag}")),
    Act(9, 9, lambda t: t.free_branches, _request),
    Act(16, 9, lambda t: t.discussed[-12:], _comment),
    Act(7, 8, lambda t: [one for one in t.open_requests if t.who not in one.approved_by
                         and (one.author is not t.who or t.wildly(0.1))],
        lambda t, one, at: discussions.approve(t.forge, t.project, t.who, one, at=at)),
    Act(0, 3, lambda t: [one for one in t.open_requests if one.approved_by],
        lambda t, one, at: discussions.unapprove(t.forge, t.project, one.approved_by[0], one, at=at)),
    Act(7, 8, lambda t: [one for one in t.open_requests if one.approved_by or t.wildly(0.4)],
        lambda t, one, at: discussions.merge(t.forge, t.project, t.who, one, at=at, squash=t.wildly(0.3),
                                             keep_branch=t.wildly(0.2))),
    Act(4, 6, lambda t: [one for one in t.discussed if one.state == "opened"
                         and (isinstance(one, Issue) or not t.some(0, 7 if t.calm else 2))],
        lambda t, one, at: discussions.close(t.forge, t.project, t.who, one, at=at)),
    Act(1, 5, _closed, lambda t, one, at: discussions.reopen(t.forge, t.project, t.who, one, at=at)),
    Act(2, 3, lambda t: t.discussed,
        lambda t, one, at: discussions.relabel(t.forge, t.project, t.who, one, t.labels(), at=at)),
    Act(6, 6, lambda t: ISSUES[:1] if t.calm else ISSUES, _issue),
    Act(10, 6, lambda t: [*t.open_requests, None], lambda t, request, _: t.run(request)),
    Act(2, 4, lambda t: [one for one in t.jobs if one.status in ("failed", "canceled")], _retry),
    Act(2, 6, lambda _: PLACES, _deploy),
    Act(1, 3, lambda t: [*_unreleased(t), t.new("v2.")], _release),
    Act(0, 2, lambda t: t.project.releases, _revise),
)
# fmt: on
