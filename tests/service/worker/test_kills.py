"""A long history is fetched whole, and once, whoever is killed meanwhile and however often."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis as redis_client

from gitpulse_sim.repository import Draft, Person
from harness.processes import SCRIPTS, answers, free_port, running, wait_until

COMMITS = int(os.environ.get("GITPULSE_TEST_COMMITS", "3000"))
"""50000 for the size that the product promises."""
KILLS = 5
LONGEST = 60 + COMMITS / 20


class Fetching:
    """A worker, the command and what they have come to."""

    def __init__(self, environment, folder) -> None:
        self.environment = {**os.environ, **environment, "GITPULSE_GITLAB_REQUESTS_PER_SECOND": "1000"}
        self.folder = folder

    @contextlib.contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        port = free_port()
        argv = [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(port)]
        log = self.folder / "worker.log"
        with running(argv, log=log, env=self.environment, ready=lambda: answers(port)) as process:
            yield process

    def command(self) -> subprocess.Popen[bytes]:
        argv = [SCRIPTS / "gitpulse", "backfill", "acme/website", "--days", "3650"]
        with (self.folder / "command.log").open("ab") as log:
            return subprocess.Popen(argv, env=self.environment, stderr=log)

    def counted(self) -> Counter[str]:
        """Commits that count, by their authors' e-mails."""
        with contextlib.closing(sqlite3.connect(self.folder / "gitpulse.db", timeout=20)) as database:
            there = "lost_at IS NULL OR seen_at > lost_at"
            query = f'SELECT email, count(*) FROM "commit" JOIN identity ON id = author WHERE {there} GROUP BY email'
            try:
                return Counter(dict(database.execute(query)))
            except sqlite3.OperationalError:  # it is not migrated yet
                return Counter()


@pytest.mark.timeout(LONGEST * 2)
def test_five_kills_lose_and_double_nothing(simulator, service_environment, tmp_path):
    repository = simulator.website.repository
    start = datetime.now(UTC) - timedelta(days=300)
    authors = [Person(name, f"{name}@acme.example") for name in ("ann", "ben", "cleo")]
    onto = None
    for first in range(0, COMMITS, 1000):
        drafts = [
            Draft(message=f"{n}", author=authors[n % 7 % 3], at=start + timedelta(minutes=n), files={"a": f"{n}\n"})
            for n in range(first, min(first + 1000, COMMITS))
        ]
        onto = repository.commit("refs/heads/main", drafts, onto=onto)[-1]
    true = Counter(repository.git("log", "--branches", "--format=%ae").split())
    gitlab = {"GITPULSE_GITLAB_URL": simulator.url, "GITPULSE_GITLAB_TOKEN": simulator.token}
    it = Fetching({**service_environment, **gitlab}, tmp_path)
    commands = []
    for number in range(KILLS):
        commands.append(it.command())
        with it.worker() as worker:
            part = COMMITS * (number + 1) // (KILLS + 2)
            wait_until(lambda part=part: it.counted().total() > part, timeout=LONGEST, what="a part")
            worker.send_signal(signal.SIGKILL)
        commands[number].kill()
        assert it.counted().total() < COMMITS
        with redis_client.Redis.from_url(service_environment["GITPULSE_REDIS_URL"]) as redis:
            assert redis.hlen("gitpulse:backfills") == 1
            for key in redis.keys("arq:in-progress:*"):  # as arq does 80 s after a death
                redis.delete(key)
    with it.worker():
        last = it.command()
        assert last.wait(LONGEST) == 0, (tmp_path / "command.log").read_text()
    assert it.counted() == true
    assert true.total() == COMMITS
    for command in commands:
        command.wait()
