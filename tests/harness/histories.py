"""Random histories of a small GitLab: the deliveries it sends, and the numbers that are true, kept in plain Python.

The truth is counted while the history happens, never from what is delivered, and uses none of the service's code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

from msgspec.structs import replace

from gitpulse_service.events.envelope import Envelope

ZEROS = "0" * 40
PEOPLE = [("Zoë Ångström", "zoe@acme.example"), ("Ben Okafor", "ben@acme.example"), ("chi", "c.li@acme.example")]
"""With the account ids 1, 2, 3; the last one shows the e-mail to everybody."""
START = datetime(2026, 1, 30, 22, 30, tzinfo=UTC)


@dataclass
class Thing:
    """A merge request, issue, pipeline, job, deployment or release as it is now."""

    id: int
    created_at: datetime
    updated_at: datetime
    state: str
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    finished_at: datetime | None = None
    started_at: datetime | None = None
    released_at: datetime | None = None
    labels: tuple[str, ...] = ()
    jobs: list[Thing] = field(default_factory=list)


@dataclass
class Project:
    """What truly happened in one project."""

    id: int
    instance: str
    path: str
    commits: dict[str, tuple[datetime, tuple[str, str]]] = field(default_factory=dict)
    pushes: list[datetime] = field(default_factory=list)
    """When each push was first received."""
    head: str = ZEROS
    merge_requests: list[Thing] = field(default_factory=list)
    issues: list[Thing] = field(default_factory=list)
    pipelines: list[Thing] = field(default_factory=list)
    deployments: list[Thing] = field(default_factory=list)
    releases: list[Thing] = field(default_factory=list)
    reviews: dict[tuple[int, int], datetime] = field(default_factory=dict)
    """Of a merge request by an account: when it first was, or was first told where that GitLab does not tell."""
    reopenings: set[tuple[int, datetime]] = field(default_factory=set)

    @property
    def tells_all(self) -> bool:
        """Whether its GitLab is a new one, which tells all moments."""
        return self.instance.endswith("2.example.com")

    def objects(self) -> dict[str, Any]:
        """What the tables must hold of everything that the summary leaves out."""
        jobs = [job for pipeline in self.pipelines for job in pipeline.jobs]
        return {
            "reviews": self.reviews,
            "reopenings": self.reopenings,
            "labels": {i.id: sorted(i.labels) for i in self.issues},
            "jobs": {j.id: (j.state, j.finished_at, j.finished_at and _seconds(j)) for j in jobs},
            "pipelines": {p.id: (p.state, p.finished_at) for p in self.pipelines},
            "deployments": {d.id: (d.state, d.finished_at if d.state == "success" else None) for d in self.deployments},
            "releases": {(f"v{r.id}", r.created_at): (r.released_at, r.state == "delete") for r in self.releases},
        }

    def reviewed(self, merge_request: int, who: int, moment: datetime) -> None:
        """Somebody wrote on it or approved it."""
        self.reviews[merge_request, who] = min(moment, self.reviews.get((merge_request, who), moment))

    def truth(self, start: datetime, end: datetime) -> dict[str, Any]:
        """The summary's numbers for `[start, end)`."""

        def within(moments: Iterable[datetime | None]) -> int:
            return sum(1 for moment in moments if moment is not None and start <= moment < end)

        return {
            "pushes": within(self.pushes),
            "authors": dict(Counter(who[0] for when, who in self.commits.values() if start <= when < end)),
            "opened": within(m.created_at for m in self.merge_requests),
            "merged": within(m.merged_at for m in self.merge_requests),
            "closed": within(m.closed_at for m in self.merge_requests if m.state == "closed"),
            "issues_opened": within(i.created_at for i in self.issues),
            "issues_closed": within(i.closed_at for i in self.issues if i.state == "closed"),
            "pipelines": dict(Counter(p.state for p in self.pipelines if start <= p.created_at < end)),
        }


class History:
    """A few projects on two instances, of different versions and time zones, and what happens to them."""

    def __init__(self, random: Random, steps: int) -> None:
        self._random = random
        self.now = START
        self.deliveries: list[Envelope] = []
        self.projects = [Project(n, f"https://gitlab-{i}.example.com", f"acme/p{n}") for i in (1, 2) for n in (7, 8)]
        for _ in range(steps):
            self.now += timedelta(seconds=random.choice([1, 1, 5, 700]))
            what = [
                self._push,
                self._push,
                self._tag,
                self._merge_request,
                self._merge_request,
                self._note,
                self._issue,
            ]
            what += [self._pipeline, self._pipeline, self._deployment, self._release, self._member]
            random.choice(what)(random.choice(self.projects))

    def accidents(self) -> list[Envelope]:
        """The deliveries out of order, and some of them twice."""
        twice = [e for e in self.deliveries if self._random.random() < 0.2]
        return self._random.sample(self.deliveries + twice, len(self.deliveries) + len(twice))

    def delayed(self) -> list[Envelope]:
        """The deliveries, each received up to a day later, and so in another order."""
        return [replace(e, received_at=e.received_at + self._random.randint(0, 90_000_000)) for e in self.deliveries]

    # --- what happens -------------------------------------------------------------------------------------------------

    def _push(self, project: Project) -> None:
        before, commits = project.head, []
        for _ in range(self._random.randint(1, 4)):
            sha = f"{self._random.getrandbits(160):040x}"
            who = self._random.choice(PEOPLE)
            when = (self.now - timedelta(seconds=self._random.randint(0, 90_000))).astimezone(
                timezone(timedelta(hours=self._random.choice([-5, 0, 1, 5.5])))
            )
            project.commits[sha] = (when, who)
            commits.append(_commit(sha, when, who) | {"added": [sha[:4], who[1]], "modified": [], "removed": ["x"]})
        project.head = commits[-1]["id"]
        branch = self._random.choice(["main", f"topic-{self._random.getrandbits(40)}"])
        pushed = {"user_id": (n := self._random.randint(1, 3)), "user_name": PEOPLE[n - 1][0], "user_email": ""}
        told = _push(before, project.head, branch, commits) | pushed | {"total_commits_count": len(commits)}
        received = self._send("Push Hook", project, lambda _: told, redacted=_redacted)
        project.pushes.append(received)
        if self._random.random() < 0.2:
            received = self._send("Push Hook", project, lambda _: _push(project.head, ZEROS, branch, []))
            project.pushes.append(received)
        if self._random.random() < 0.2:  # somebody presses Test: the last commits again, the newest first
            last = [_commit(sha, *said) for sha, said in list(project.commits.items())[-3:]][::-1]
            self._send("Push Hook", project, lambda _: _push(last[-1]["id"], last[0]["id"], "main", last))

    def _tag(self, project: Project) -> None:
        tag = _push(ZEROS, f"{self._random.getrandbits(160):040x}", "", []) | {"object_kind": "tag_push"}
        self._send("Tag Push Hook", project, lambda _: tag | {"ref": f"refs/tags/v{self._random.getrandbits(20)}"})

    def _merge_request(self, project: Project) -> None:
        it, action = self._next(project.merge_requests, ["close", "update", "merge", "approved", "approval"])
        who = self._random.randint(1, 3)
        if action == "close":
            it.state, it.closed_at = "closed", self.now
        elif action == "reopen":
            it.state, it.closed_at = "opened", None
        elif action == "merge":
            it.state, it.merged_at = "merged", self.now
        elif action.startswith("appro"):
            it.updated_at = it.created_at  # it tells of an older change
        heard = self._object(project, "merge_request", it, action, who, merged_at=it.merged_at, actioned_at=self.now)
        if action.startswith("appro"):
            project.reviewed(it.id, who, self.now if project.tells_all else heard)

    def _note(self, project: Project) -> None:
        who, of, system = self._random.randint(1, 3), self._random.randint(1, 9), self._random.random() < 0.2
        place = self._random.choice(["MergeRequest", "MergeRequest", "Issue"])
        if place == "MergeRequest" and not system:
            project.reviewed(of, who, self.now)
        about = {"id": self._random.getrandbits(31), "author_id": who, "created_at": self.now, "system": system}
        target = {"noteable_type": place, "noteable_id": of}
        for action in ["create", "update"] if self._random.random() < 0.3 else ["create"]:
            content = about | target | {"action": action}
            self._send(
                "Note Hook",
                project,
                lambda stamp, it=content: {"object_kind": "note", "object_attributes": _stamped(it, stamp)},  # type: ignore[misc]
            )

    def _issue(self, project: Project) -> None:
        it, action = self._next(project.issues, ["close", "update"])
        if action == "close":
            it.state, it.closed_at = "closed", self.now
        elif action == "reopen":
            it.state, it.closed_at = "opened", None
            project.reopenings.add((it.id, self.now))
        elif action == "update":
            it.labels = tuple(self._random.sample(["wish", "bug", "ci"], self._random.randint(0, 3)))
        self._object(project, "issue", it, action, self._random.randint(1, 3), closed_at=it.closed_at)

    def _pipeline(self, project: Project) -> None:
        it = self._moved_on(project.pipelines, "pending", ["success", "failed", "canceled"])
        if it.state == "running" and (not it.jobs or it.jobs[-1].finished_at):  # begun, or retried with a new job
            it.jobs.append(Thing(self._random.getrandbits(31), self.now, self.now, "running", started_at=self.now))
        for job in it.jobs[-1:]:
            job.state, job.finished_at = it.state, None if it.state == "running" else self.now
        content = {"id": it.id, "status": it.state, "created_at": it.created_at, "finished_at": it.finished_at}
        content["duration"] = it.finished_at and 7
        jobs = [self._job(job) for job in it.jobs[-1:]]

        def body(stamp: Callable[[datetime], str]) -> dict[str, Any]:
            builds = [_stamped(job, stamp) for job in jobs]
            return {"object_kind": "pipeline", "object_attributes": _stamped(content, stamp), "builds": builds}

        self._send("Pipeline Hook", project, body)
        for job in jobs:
            flat = {f"build_{name}": value for name, value in job.items() if name != "user"}
            more = {"object_kind": "build", "pipeline_id": it.id, "user": job["user"]}
            self._send("Job Hook", project, lambda stamp, flat=flat, more=more: more | _stamped(flat, stamp))  # type: ignore[misc]

    def _job(self, job: Thing) -> dict[str, Any]:
        took = _seconds(job) + 0.4 if job.finished_at else self._random.random()
        moments = {"created_at": job.created_at, "started_at": job.started_at, "finished_at": job.finished_at}
        about = {"id": job.id, "name": "unit", "stage": "test", "status": job.state, "user": _user(1 + job.id % 3)}
        return {**about, **moments, "duration": took, "queued_duration": took}

    def _deployment(self, project: Project) -> None:
        it = self._moved_on(project.deployments, "created", ["success"], again=False)
        about = {"object_kind": "deployment", "deployment_id": it.id, "status": it.state, "status_changed_at": self.now}
        where = {"environment": "live", "environment_tier": "production", "user": _user(1)}
        self._send("Deployment Hook", project, lambda stamp: _stamped(about | where, stamp))

    def _release(self, project: Project) -> None:
        going = [release for release in project.releases if release.state != "delete" and self._random.random() < 0.7]
        if going:
            it = self._random.choice(going)
            it.state = "update" if it.state == "create" else "delete"
            it.released_at = self.now if it.state == "update" else it.released_at
        else:
            it = Thing(self._random.getrandbits(31), self.now, self.now, "create", released_at=self.now)
            project.releases.append(it)
        about = {"object_kind": "release", "tag": f"v{it.id}", "action": it.state, "name": "One"}
        moments = {"created_at": it.created_at, "released_at": it.released_at}
        self._send("Release Hook", project, lambda stamp: about | _stamped(moments, stamp))

    def _member(self, project: Project) -> None:
        who = {f"user_{name}": value for name, value in _user(self._random.randint(1, 3)).items()}
        self._send("Member Hook", project, lambda _: {"event_name": "user_add_to_group", **who}, redacted=_redacted)

    def _moved_on(self, things: list[Thing], first: str, ends: list[str], *, again: bool = True) -> Thing:
        """A new thing, or an old one that has begun, ended, or begun again; then `finished_at` stays as it was."""
        going = [it for it in things if (again or it.state not in ends) and self._random.random() < 0.7]
        if not going:
            things.append(Thing(self._random.getrandbits(31), self.now, self.now, first))
            return things[-1]
        it = self._random.choice(going)
        if it.state == "running":
            it.state, it.finished_at = self._random.choice(ends), self.now
        else:
            it.state = "running"
        return it

    def _next(self, things: list[Thing], actions: list[str]) -> tuple[Thing, str]:
        """A new thing, or something that may happen to an old one."""
        if not things or self._random.random() < 0.3:
            things.append(Thing(self._random.getrandbits(31), self.now, self.now, "opened"))
            return things[-1], "open"
        it = self._random.choice(things)
        it.updated_at = self.now
        possible = {"opened": actions, "closed": ["reopen", "update"], "merged": ["update"]}[it.state]
        return it, self._random.choice(possible)

    def _object(
        self, project: Project, kind: str, it: Thing, action: str, who: int, **more: datetime | None
    ) -> datetime:
        if kind == "merge_request" and not project.tells_all:
            more = {}
        content = {"id": it.id, "iid": it.id % 1000 + 1, "state": it.state, "author_id": 1 + it.id % 3, **more}
        content |= {"created_at": it.created_at, "updated_at": it.updated_at}
        labels = [{"id": n, "title": title} for n, title in enumerate(it.labels)]

        def body(stamp: Callable[[datetime], str], **more: str) -> dict[str, Any]:
            about = {"object_kind": kind, "labels": labels, "user": _user(who), "assignees": [_user(2)]}
            return {**about, "object_attributes": {**_stamped(content, stamp), **more}}

        event = f"{kind} hook".title()
        heard = self._send(event, project, lambda stamp: body(stamp, action=action), redacted=_redacted)
        if self._random.random() < 0.2:  # somebody presses Test
            self._send(event, project, lambda _: body(_milliseconds))
        return heard

    # --- how it is told -----------------------------------------------------------------------------------------------

    def _send(
        self,
        event: str,
        project: Project,
        body: Callable[[Callable[[datetime], str]], dict[str, Any]],
        redacted: Callable[[str], str] = str,
    ) -> datetime:
        """Through the project's hook, and perhaps the group's too, and perhaps resent. Returns when it came first."""
        zone = timezone(timedelta(hours=1)) if project.tells_all else UTC
        about = {"id": project.id, "path_with_namespace": project.path, "name": project.path, "web_url": ""}
        content = json.dumps({"project": about, **body(lambda moment: _gitlabs(moment, zone))})
        first = None
        for hook in ["project", "group"] if self._random.random() < 0.3 else ["project"]:
            received = self.now + timedelta(milliseconds=self._random.randint(1, 5000))
            first = min(first or received, received)
            delivery = f"{self._random.getrandbits(64):016x}"
            self._store(event, project, hook, delivery, received, content)
            if self._random.random() < 0.15:
                later = received + timedelta(seconds=self._random.randint(1, 90_000))
                self._store(event, project, hook, delivery, later, redacted(content))
        assert first is not None
        return first

    def _store(self, event: str, project: Project, hook: str, delivery: str, received: datetime, content: str) -> None:
        ms = round(received.timestamp() * 1000)
        self.deliveries.append(Envelope(hook, delivery, event, project.instance, 1, ms, content.encode()))


def _commit(sha: str, when: datetime, who: tuple[str, str]) -> dict[str, Any]:
    return {"id": sha, "timestamp": when.isoformat(), "author": {"name": who[0], "email": who[1]}}


def _push(before: str, after: str, branch: str, commits: list[dict[str, Any]]) -> dict[str, Any]:
    ref = f"refs/heads/{branch}"
    return {"object_kind": "push", "before": before, "after": after, "ref": ref, "commits": commits}


def _user(number: int) -> dict[str, Any]:
    name, email = PEOPLE[number - 1]
    shown = email if number == len(PEOPLE) else "[REDACTED]"
    return {"id": number, "name": name, "username": f"user-{number}", "email": shown}


def _seconds(job: Thing) -> int:
    assert job.finished_at is not None
    assert job.started_at is not None
    return int((job.finished_at - job.started_at).total_seconds())


def _redacted(content: str) -> str:
    for _, email in PEOPLE:
        content = content.replace(email, "[REDACTED]")
    return content


def _stamped(content: dict[str, Any], stamp: Callable[[datetime], str]) -> dict[str, Any]:
    return {key: stamp(value) if isinstance(value, datetime) else value for key, value in content.items()}


def _gitlabs(moment: datetime, zone: timezone) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S " + ("UTC" if zone == UTC else "%z"))


def _milliseconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.869Z")
