"""`gitpulse up` as its user runs it: a folder of files, a process, and a simulated GitLab that delivers to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import yaml

from gitpulse_sim.hook import Hook
from harness.house import resource
from harness.processes import answers, free_port, stop, wait_until
from harness.simulator import Simulator

GITPULSE = [sys.executable, "-m", "gitpulse_cli"]
PROGRAMS = ("redis", "receiver", "worker")


class OneMachine:
    """A folder, and what runs over it."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder, self.simulator = folder, simulator
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = folder / ".gitpulse"
        self.log = folder / "up.log"
        self.tokens = folder / "tokens"
        self.token = ""
        """For the API, where it wants one."""
        self.process: subprocess.Popen[bytes] | None = None
        self.tokens.mkdir()
        (self.tokens / "gitlab-token").write_text(f"{simulator.token}\n")

    # --- files --------------------------------------------------------------------------------------------------------

    def write(self, name: str = "website", **spec: Any) -> None:
        """A project's file, and the connection's."""
        connection = {"url": self.simulator.url, "tokenSecretRef": {"name": "gitlab-token"}}
        self.put("connection", resource("GitLabConnection", "gitlab", connection))
        whole = {"connectionRef": {"name": "gitlab"}, "project": f"acme/{name}", **spec}
        self.put(name, resource("GitPulseProject", name, whole))

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))

    def entry(self, name: str = "website") -> dict[str, Any]:
        """What is kept of a project."""
        with contextlib.suppress(FileNotFoundError):
            kept = json.loads((self.state / "state.json").read_text())
            found: dict[str, Any] = kept.get(f"GitPulseProject/default/{name}", {})
            return found
        return {}

    def condition(self, kind: str, name: str = "website") -> tuple[str, str]:
        """Status and reason; of a spec as it is now."""
        entry = self.entry(name)
        conditions = entry.get("status", {}).get("conditions", [])
        found = (
            (each["status"], each["reason"])
            for each in conditions
            if each["type"] == kind and each["observedGeneration"] == entry["generation"]
        )
        return next(found, ("", ""))

    # --- the process --------------------------------------------------------------------------------------------------

    def start(self, *words: str) -> None:
        """Returns once the receiver answers. `words`: in the place of `up -f …`."""
        command = [*GITPULSE, *words, *self.ports()] if words else self.command()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=self.environment())
        wait_until(lambda: answers(self.port) or self._ended(), what="the receiver of up", timeout=40)
        assert not self._ended(), self.said()

    def command(self) -> list[str]:
        return [*GITPULSE, "up", "-f", str(self.folder), "--secrets", str(self.tokens), *self.ports()]

    def ports(self) -> list[str]:
        return ["--port", str(self.port), "--metrics-port", "0", "--public-url", self.url]

    def environment(self) -> dict[str, str]:
        """Ours, and numbers for everybody; neither history nor patience."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("GITPULSE_")}
        wishes = {"GITPULSE_BACKFILL_DAYS": "0", "GITPULSE_PROOF_PATIENCE": "1", "GITPULSE_API_TOKENS_REQUIRED": "no"}
        return {**own, **wishes}

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        assert self.process is not None
        stop(self.process, grace=40)
        return self.process.returncode

    def kill(self) -> None:
        """Nothing of it is left when this returns, though nobody has ended its children."""
        assert self.process is not None
        children = self.children().values()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), what="no child")

    def children(self) -> dict[str, int]:
        """Its programs by name."""
        assert self.process is not None
        found = {}
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in listed:
            with contextlib.suppress(OSError):  # it has ended just now
                line = Path(f"/proc/{child}/cmdline").read_text().replace("redis-server", "/redis/")
                found |= {name: int(child) for name in PROGRAMS if name in re.split("[\0/]", line)}
        return found

    def said(self) -> str:
        """All that it has written."""
        return self.log.read_text(errors="replace")

    # --- what comes of it ---------------------------------------------------------------------------------------------

    def hooks(self, project: str = "website") -> list[Hook]:
        """In GitLab."""
        return list(self.simulator.world.project(f"acme/{project}").hooks.values())

    def hook(self, project: str = "website") -> Hook:
        """The only one there, once it is there and ready."""
        wait_until(lambda: self.condition("Ready", project)[0] == "True", what=f"{project} ready")
        (hook,) = self.hooks(project)
        return hook

    def count(self, metric: str = "pushes", project: str = "website") -> int:
        """As it is counted by now."""
        items = self._asked(f"projects/acme%2F{project}/summary").get("items", ())
        return next((row["count"] for row in items if row["metric"] == metric), 0)

    def awaits(self, count: int, metric: str = "pushes", project: str = "website") -> None:
        wait_until(lambda: self.count(metric, project) >= count, what=f"{count} {metric}", timeout=40)
        assert self.count(metric, project) == count

    def is_ready(self) -> bool:
        """Whether the receiver takes deliveries."""
        return self._asked("ready") != {}

    def _asked(self, path: str) -> dict[str, Any]:
        with contextlib.suppress(httpx2.TransportError):
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            answer = httpx2.get(f"{self.url}/api/v1/{path}", headers=headers, timeout=10)
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        return {}


@contextlib.contextmanager
def one_machine(folder: Path, simulator: Simulator) -> Iterator[OneMachine]:
    """One that is ended after the block; what it has said is shown if the block fails."""
    folder.mkdir()
    machine = OneMachine(folder, simulator)
    try:
        yield machine
    except AssertionError as error:
        error.add_note(f"--- up said\n{machine.said()[-6000:] if machine.log.exists() else 'nothing'}")
        raise
    finally:
        if machine.process:
            stop(machine.process, grace=40)
