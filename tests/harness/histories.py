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

from gitpulse_service.events.envelope import Envelope

ZEROS = "0" * 40
PEOPLE = [("Zoë Ångström", "zoe@acme.example"), ("Ben Okafor", "ben@acme.example"), ("chi", "c.li@acme.example")]
START = datetime(2026, 1, 30, 22, 30, tzinfo=UTC)


@dataclass
class Thing:
    """A merge request, issue or pipeline as it is now."""

    id: int
    created_at: datetime
    updated_at: datetime
    state: str
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    finished_at: datetime | None = None
    job_at: datetime | None = None


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

    def truth(self, start: datetime, end: datetime) -> dict[str, Any]:
        """The summary's numbers for `[start, end)`."""

        def within(moments: Iterable[datetime | None]) -> int:
            return sum(1 for moment in moments if moment is not None and start <= moment < end)

        return {
            "pushes": within(self.pushes),
            "authors": dict(Counter(who for when, who in self.commits.values() if start <= when < end)),
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
            random.choice([self._push, self._push, self._merge_request, self._issue, self._pipeline])(
                random.choice(self.projects)
            )

    def accidents(self) -> list[Envelope]:
        """The deliveries out of order, and some of them twice."""
        twice = [e for e in self.deliveries if self._random.random() < 0.2]
        return self._random.sample(self.deliveries + twice, len(self.deliveries) + len(twice))

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
            commits.append(_commit(sha, when, who))
        project.head = commits[-1]["id"]
        branch = self._random.choice(["main", f"topic-{self._random.getrandbits(40)}"])
        received = self._send(
            "Push Hook", project, lambda _: _push(before, project.head, branch, commits), redacted=_redacted
        )
        project.pushes.append(received)
        if self._random.random() < 0.2:
            received = self._send("Push Hook", project, lambda _: _push(project.head, ZEROS, branch, []))
            project.pushes.append(received)
        if self._random.random() < 0.2:  # somebody presses Test: the last commits again, the newest first
            last = [_commit(sha, *said) for sha, said in list(project.commits.items())[-3:]][::-1]
            self._send("Push Hook", project, lambda _: _push(last[-1]["id"], last[0]["id"], "main", last))

    def _merge_request(self, project: Project) -> None:
        it, action = self._next(project.merge_requests, ["close", "update", "merge"])
        if action == "close":
            it.state, it.closed_at = "closed", self.now
        elif action == "reopen":
            it.state, it.closed_at = "opened", None
        elif action == "merge":
            it.state, it.merged_at = "merged", self.now
        self._object(project, "merge_request", it, action, merged_at=it.merged_at)

    def _issue(self, project: Project) -> None:
        it, action = self._next(project.issues, ["close", "update"])
        if action == "close":
            it.state, it.closed_at = "closed", self.now
        elif action == "reopen":
            it.state, it.closed_at = "opened", None
        self._object(project, "issue", it, action, closed_at=it.closed_at)

    def _pipeline(self, project: Project) -> None:
        going = [p for p in project.pipelines if self._random.random() < 0.7]
        if not going:
            it = Thing(self._random.getrandbits(31), self.now, self.now, "pending", job_at=self.now)
            project.pipelines.append(it)
        else:
            it = self._random.choice(going)
            it.job_at = self.now
            if it.state == "running":
                it.state, it.finished_at = self._random.choice(["success", "failed", "canceled"]), self.now
            else:  # begun, or retried: then `finished_at` stays as it was
                it.state = "running"
        content = {"id": it.id, "status": it.state, "created_at": it.created_at, "finished_at": it.finished_at}
        job = {"created_at": it.created_at, "started_at": it.job_at, "finished_at": None}
        self._send(
            "Pipeline Hook",
            project,
            lambda stamp: {
                "object_kind": "pipeline",
                "object_attributes": _stamped(content, stamp),
                "builds": [_stamped(job, stamp)],
            },
        )

    def _next(self, things: list[Thing], actions: list[str]) -> tuple[Thing, str]:
        """A new thing, or something that may happen to an old one."""
        if not things or self._random.random() < 0.3:
            things.append(Thing(self._random.getrandbits(31), self.now, self.now, "opened"))
            return things[-1], "open"
        it = self._random.choice(things)
        it.updated_at = self.now
        possible = {"opened": actions, "closed": ["reopen", "update"], "merged": ["update"]}[it.state]
        return it, self._random.choice(possible)

    def _object(self, project: Project, kind: str, it: Thing, action: str, **ends: datetime | None) -> None:
        if kind == "merge_request" and project.instance.endswith("1.example.com"):
            ends = {}  # an older GitLab
        content = {"id": it.id, "state": it.state, "created_at": it.created_at, "updated_at": it.updated_at, **ends}

        def body(stamp: Callable[[datetime], str], **more: str) -> dict[str, Any]:
            return {"object_kind": kind, "object_attributes": {**_stamped(content, stamp), **more}}

        self._send(f"{kind} hook".title(), project, lambda stamp: body(stamp, action=action))
        if self._random.random() < 0.2:  # somebody presses Test
            self._send(f"{kind} hook".title(), project, lambda _: body(_milliseconds))

    # --- how it is told -----------------------------------------------------------------------------------------------

    def _send(
        self,
        event: str,
        project: Project,
        body: Callable[[Callable[[datetime], str]], dict[str, Any]],
        redacted: Callable[[str], str] = str,
    ) -> datetime:
        """Through the project's hook, and perhaps the group's too, and perhaps resent. Returns when it came first."""
        zone = timezone(timedelta(hours=1)) if project.instance.endswith("2.example.com") else UTC
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
