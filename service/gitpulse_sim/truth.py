"""What is true of a project: from real git, and from the simulator's own records. Others' numbers are held to it.

It says again, in plain loops, what docs/metrics.md defines, and shares nothing with the code that it judges.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from gitpulse_sim.people import User
from gitpulse_sim.repository import ZEROS, Commit, Repository
from gitpulse_sim.work import FINAL_STATUSES, Issue, Job, MergeRequest, Pipeline
from gitpulse_sim.world import Project

Who: TypeAlias = tuple[str, int] | tuple[str, str, str]
"""`("account", user id)`, or `("author", name, e-mail)`."""
Push: TypeAlias = tuple[str, str, str]
"""Ref, before, after."""


class Fact(NamedTuple):
    """One thing that is counted. `at` is in UTC, in whole seconds; the label of `reviews` is a Who."""

    at: datetime
    who: Who | None
    label: str | int | Who | None = None
    value: int | None = None


Facts: TypeAlias = Iterator[tuple[str, Fact]]
"""Each with the metric that it belongs to."""


async def facts(
    project: Project, *, to: datetime | None = None, heard: Mapping[Push, datetime] | None = None
) -> dict[str, list[Fact]]:
    """All facts of all time, by metric; those of `merge_requests_open` as of `to` (now).

    `heard` says when a push was first received; without it, it counts when it was made, and one that is not in it a
    minute after. `branches_active` counts each label once.
    """
    found: dict[str, list[Fact]] = defaultdict(list)
    for one in await asyncio.to_thread(lambda: [*_pushes(project, heard), *_commits(project)]):
        found[one[0]].append(one[1])
    end = to or datetime.now(UTC)
    for metric, fact in (*_requests(project, end), *_issues(project), *_runs(project), *_deployments(project)):
        found[metric].append(fact)
    return found


def _pushes(project: Project, heard: Mapping[Push, datetime] | None) -> Facts:
    told: dict[Push, tuple[datetime, User]] = {}
    for at, user, change in project.pushes:
        told.setdefault((change.ref, change.before, change.after), (at, user))
    ancestors = _Ancestors(project.repository, told)
    for push, (made, user) in told.items():
        ref, before, after = push
        at = made if heard is None else heard.get(push, made + timedelta(minutes=1))
        fact = Fact(_cut(at), _account(user))
        if ref.startswith("refs/tags/"):
            if before == ZEROS:
                yield "tags_created", fact
            continue
        yield "pushes", fact
        if before == ZEROS:
            yield "branches_created", fact
        if after == ZEROS:
            yield "branches_deleted", fact
        else:
            yield "branches_active", fact._replace(label=ref)
        if ZEROS not in (before, after) and not ancestors.include(before, after):
            yield "force_pushes", fact


class _Ancestors:
    """Who descends from whom, also among the commits that are lost: git is asked once."""

    def __init__(self, repository: Repository, pushes: Iterable[Push]) -> None:
        shas = {sha for ref, *ends in pushes if ref.startswith("refs/heads/") for sha in ends} - {ZEROS}
        lines = repository.git("rev-list", "--parents", "--stdin", stdin="\n".join(shas).encode()) if shas else ""
        self._parents = {words[0]: words[1:] for line in lines.splitlines() if (words := line.split())}

    def include(self, one: str, descendant: str) -> bool:
        seen, ahead = {descendant}, [descendant]
        while ahead and one not in seen:
            new = set(self._parents[ahead.pop()]) - seen
            seen |= new
            ahead += new
        return one in seen


def _commits(project: Project) -> Facts:
    """What `git log` says of all branches and tags; other refs keep what is lost."""
    found: list[Commit] = project.repository.log("--branches", "--tags") if project.repository.tips else []
    for one in found:
        fact = Fact(_cut(one.committed_at), ("author", one.author.name, one.author.email))
        yield "commits", fact
        yield "commit_hours", fact._replace(label=24 * one.committed_at.weekday() + one.committed_at.hour)
        for label, paths in (("added", one.added), ("modified", one.modified), ("removed", one.removed)):
            if paths:
                yield "files", fact._replace(label=label, value=len(paths))


def _requests(project: Project, end: datetime) -> Facts:
    for one in project.merge_requests:
        who, opened = _account(one.author), _cut(one.created_at)
        yield "merge_requests_opened", Fact(opened, who)
        if one.merged_at:
            merged = _cut(one.merged_at)
            yield "merge_requests_merged", Fact(merged, who)
            yield "time_to_merge", Fact(merged, who, value=_between(opened, merged))
        elif one.state == "closed" and one.closed_at:
            yield "merge_requests_closed", Fact(_cut(one.closed_at), who)
        ended = one.merged_at or one.closed_at
        if opened < end and (ended is None or _cut(ended) >= end):
            yield "merge_requests_open", Fact(opened, who, value=_between(opened, end))
        yield from _reviews(project, one)


def _reviews(project: Project, request: MergeRequest) -> Facts:
    first: dict[User, datetime] = {}
    notes = [(one.created_at, one.author) for one in project.notes if one.target is request and not one.system]
    for at, user in (*notes, *request.approvals):
        if user != request.author and not user.bot:
            first[user] = min(_cut(at), first.get(user, _cut(at)))
    for user, at in first.items():
        yield "reviews", Fact(at, _account(user), label=_account(request.author))
    if first:
        at = min(first.values())
        yield "time_to_first_review", Fact(at, _account(request.author), value=_between(_cut(request.created_at), at))


def _issues(project: Project) -> Facts:
    for one in project.issues:
        if one.type == "Issue":
            yield from _issue(one, "issues_opened", "issues_closed", "time_to_close")
        elif one.type == "Incident":
            yield from _issue(one, "incidents_opened", None, "time_to_restore")


def _issue(one: Issue, opened: str, closed: str | None, took: str) -> Facts:
    fact = Fact(_cut(one.created_at), _account(one.author))
    labels = [label.title for label in one.labels] if closed else []
    yield opened, fact
    for label in labels:
        yield f"{opened}_by_label", fact._replace(label=label)
    if one.state == "closed" and one.closed_at:
        ended = fact._replace(at=_cut(one.closed_at))
        yield took, ended._replace(value=_between(fact.at, ended.at))
        if closed:
            yield closed, ended
        for label in labels:
            yield f"{closed}_by_label", ended._replace(label=label)
    for event in one.state_events if closed else ():
        if event.state == "reopened":
            yield "issues_reopened", Fact(_cut(event.created_at), _account(event.user))


def _runs(project: Project) -> Facts:
    for one in project.pipelines:
        yield "pipelines", Fact(_cut(one.created_at), _account(one.user), label=one.status)
        yield from _ended(one, "pipeline", None)
        for job in one.all_jobs:
            yield "jobs", Fact(_cut(job.created_at), _account(job.user), label=job.status)
            yield from _ended(job, "job", f"{job.stage}/{job.name}")
    yield from _green(project)


def _ended(one: Pipeline | Job, kind: str, label: str | None) -> Facts:
    """Of a run that is finished; one that was retried and runs again still has the time of its first end."""
    if one.status not in FINAL_STATUSES or one.finished_at is None:
        return
    fact = Fact(_cut(one.finished_at), _account(one.user), label)
    if one.duration is not None:
        yield f"{kind}_duration", fact._replace(value=int(one.duration))
    if one.queued_duration is not None and one.started_at:
        yield f"{kind}_queue_time", fact._replace(value=int(one.queued_duration))
    if one.status != "canceled":
        yield f"{kind}_success_rate", fact._replace(value=int(one.status == "success"))


def _green(project: Project) -> Facts:
    ends = [
        (_cut(one.finished_at), one.id, one)
        for one in project.pipelines
        if one.finished_at and one.status in ("success", "failed") and one.source_ref == project.default_branch
    ]
    broken: datetime | None = None
    for at, _, one in sorted(ends, key=lambda end: end[:2]):
        if one.status == "failed":
            broken = broken or at
        elif broken:
            yield "time_to_green", Fact(at, _account(one.user), value=_between(broken, at))
            broken = None


def _deployments(project: Project) -> Facts:
    brought: set[int] = set()
    good = [one for one in project.deployments if one.succeeded_at and one.environment.tier == "production"]
    for one in sorted(good, key=lambda one: (_cut(one.succeeded_at or one.created_at), one.id)):
        at = _cut(one.succeeded_at or one.created_at)
        yield "deployments", Fact(at, _account(one.user), label=one.environment.name)
        for request in one.merge_requests:
            if request.merged_at and request.id not in brought:
                brought.add(request.id)
                value = _between(_cut(request.merged_at), at)
                yield "lead_time_for_changes", Fact(at, _account(request.author), value=value)
    for release in project.releases:
        yield "releases", Fact(_cut(release.released_at), None)


def _account(user: User) -> Who:
    return ("account", user.id)


def _cut(at: datetime) -> datetime:
    """GitLab shows the same moment with and without milliseconds."""
    return at.astimezone(UTC).replace(microsecond=0)


def _between(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds())


async def truth(project: Project) -> dict[str, object]:
    """Counts of all time.

    `pushes` is how many Push Hooks fired (or would have, had a hook been there), branch deletions among them;
    `merge_requests.closed` and `issues.closed` are those that are closed now, `opened` all that ever were.
    """
    all_facts = await facts(project)
    count = Counter({metric: len(found) for metric, found in all_facts.items()})
    authors = Counter(str(fact.who[2]) for fact in all_facts["commits"] if fact.who and len(fact.who) == 3)
    states = Counter(fact.label for fact in all_facts["pipelines"])
    return {
        "id": project.id,
        "project": project.full_path,
        "commits": count["commits"],
        "authors": dict(sorted(authors.items())),
        "pushes": project.events["push_events"],
        "tag_pushes": project.events["tag_push_events"],
        "merge_requests": {name: count[f"merge_requests_{name}"] for name in ("opened", "merged", "closed")},
        "issues": {name: count[f"issues_{name}"] for name in ("opened", "closed")},
        "notes": len(project.notes),
        "pipelines": {"total": count["pipelines"], **{status: states[status] for status in FINAL_STATUSES}},
        "events": dict(project.events),
    }
