"""A simulated GitLab and GitPulse as pods, asked through port-forwards as a person would."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from gitpulse_sim.seed import DEMO_TOKEN
from harness.kind import Kind


@dataclass
class GitLab:
    """The simulator's API and its control doors."""

    url: str
    client: httpx2.Client = field(repr=False)

    def get(self, path: str, **query: Any) -> Any:
        headers = {"PRIVATE-TOKEN": DEMO_TOKEN}
        return self.client.get(f"{self.url}/api/v4/{path}", params=query, headers=headers).raise_for_status().json()

    def push(self, project: str = "acme/website", **how: Any) -> None:
        """One push, of one commit unless `how` says otherwise."""
        self.client.post(f"{self.url}/-/sim/push", json={"project": project, **how}).raise_for_status()

    def commits(self) -> dict[str, int]:
        """Project -> how many it truly has."""
        truth = self.client.get(f"{self.url}/-/sim/truth").raise_for_status().json()
        return {it["project"]: it["commits"] for it in truth if it["commits"]}

    def hooks(self, project: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"projects/{project.replace('/', '%2F')}/hooks")
        return found

    def answers(self, project: str) -> list[str]:
        """What each delivery of each hook of the project was answered, a status or "internal error"; newest first."""
        path, found = f"projects/{project.replace('/', '%2F')}/hooks", list[str]()
        self.client.get(f"{self.url}/-/sim/idle").raise_for_status()
        for hook in self.hooks(project):
            page = 1
            while rows := self.get(f"{path}/{hook['id']}/events", page=page, per_page=20):
                found += [row["response_status"] for row in rows]
                page += 1
        return found

    @contextlib.contextmanager
    def refused(self, *projects: str) -> Iterator[list[str]]:
        """Yields the list of answers but 200, which is filled when the block ends."""
        before = {project: len(self.answers(project)) for project in projects}
        found = list[str]()
        yield found
        for project, old in before.items():
            answers = self.answers(project)
            found += [answer for answer in answers[: len(answers) - old] if answer != "200"]

    @contextlib.contextmanager
    def busy(self, *projects: str, pause: float = 0.15) -> Iterator[list[str]]:
        """Somebody pushes all the while; yields the list of what was pushed to, which grows."""
        over, pushed = threading.Event(), list[str]()

        def work() -> None:
            while not over.wait(pause):
                project = projects[len(pushed) % len(projects)]
                self.push(project)
                pushed.append(project)

        with contextlib.ExitStack() as stack:
            worker = threading.Thread(target=work)
            worker.start()
            stack.callback(worker.join)
            stack.callback(over.set)
            yield pushed


@dataclass
class GitPulse:
    """The query API, as somebody who has a token and forwards a port for each question: pods come and go."""

    kind: Kind
    namespace: str
    token: str = field(repr=False)

    def commits(self) -> dict[str, int]:
        """Project -> how many are counted."""
        with self.kind.forward(self.namespace, "service/gitpulse-receiver", 8080) as url:
            answer = httpx2.get(
                f"{url}/api/v1/metrics/commits",
                params={"group_by": "project"},
                headers={"Authorization": f"Bearer {self.token}"},
            )
        return {group["group"]: group["count"] for group in answer.raise_for_status().json()["items"]}
