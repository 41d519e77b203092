"""`gitpulse backfill`, with a simulated GitLab and a real worker."""

from __future__ import annotations

import json
import subprocess

import pytest
import redis as redis_client

from gitpulse_service.contract import ACCESSES, BACKFILLS
from harness.processes import SCRIPTS, answers, free_port, running


def gitpulse(*arguments) -> subprocess.CompletedProcess[str]:
    argv = [SCRIPTS / "gitpulse", "backfill", *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def gitlab(simulator, service_environment, monkeypatch):
    simulator.push(commits=3)
    monkeypatch.setenv("GITPULSE_GITLAB_REQUESTS_PER_SECOND", "1000")
    return simulator


def by_hand(gitlab, monkeypatch) -> None:
    monkeypatch.setenv("GITPULSE_GITLAB_URL", gitlab.url)
    monkeypatch.setenv("GITPULSE_GITLAB_TOKEN", gitlab.token)


@pytest.fixture
def worker(tmp_path):
    def worker():
        port = free_port()
        argv = [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(port)]
        return running(argv, log=tmp_path / "worker.log", ready=lambda: answers(port))

    return worker


@pytest.mark.parametrize("name", ["acme/website", "1"])
def test_it_follows_a_backfill_to_its_end(gitlab, worker, monkeypatch, name):
    by_hand(gitlab, monkeypatch)
    with worker():
        done = gitpulse(name, "--days", "3")
    assert done.returncode == 0, done.stderr
    assert "commits 3" in done.stderr
    (row,) = json.loads(gitpulse("--status", "-o", "json").stdout)
    assert (row["state"], row["rows"]["commits"], row["projects"], row["done"]) == ("Done", 3, 1, 1)
    assert "project/1" in gitpulse("--status").stdout


def test_a_token_of_ones_own_is_kept_sealed(gitlab, worker, service_environment, tmp_path):
    (file := tmp_path / "token").write_text(f"{gitlab.token}\n")
    with worker():
        done = gitpulse("acme/website", "--since", "2026-01-01", "--url", gitlab.url, "--token-file", str(file))
    assert done.returncode == 0, done.stderr
    with redis_client.Redis.from_url(service_environment["GITPULSE_REDIS_URL"]) as redis:
        assert redis.hlen(ACCESSES) == 1
        assert gitlab.token not in str(redis.hgetall(ACCESSES))
        assert redis.hlen(BACKFILLS) == 0


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        ([], "name a project, or say --status", 2),
        (["acme/none"], "acme/none: ", 1),
        (["acme/website", "--since", "yesterday"], "--since", 2),
        (["acme/website", "--days", "999999999"], "--days", 2),
        (["acme/website", "--token-file", "/"], "/: Is a directory", 2),
        (["acme/website", "--url", "elsewhere"], "elsewhere is no URL", 2),
        (["acme/website", "--url", "https://elsewhere.example.com"], "GITPULSE_GITLAB_URL", 1),
    ],
)
def test_what_is_wrong_is_said(gitlab, monkeypatch, arguments, says, code):
    by_hand(gitlab, monkeypatch)
    done = gitpulse(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr


def test_without_any_access_it_says_what_to_set(gitlab):
    done = gitpulse("acme/website")
    assert done.returncode == 1
    assert "set GITPULSE_GITLAB_URL and GITPULSE_GITLAB_TOKEN" in done.stderr
