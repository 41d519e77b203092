"""The server as others use it: within a loop, as a program, through its control doors."""

from __future__ import annotations

import asyncio
import socket
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import requests

from gitpulse_sim.errors import CannotListen, GitFailed
from gitpulse_sim.seed import demo_world
from gitpulse_sim.server import serving
from harness.processes import answers, running, stop, wait_until


@pytest.fixture
def door(simulator):
    def post(path, **body):
        return requests.post(f"{simulator.url}/-/sim/{path}", json=body, timeout=20)

    return post


async def test_serves_within_another_loop_and_stops_cleanly():
    """That it has stopped shows in that its port can be had again at once."""
    port = 0
    for _ in range(2):
        async with serving(demo_world(), port=port) as forge:
            assert port in (0, urlsplit(forge.world.url).port)
            port = urlsplit(forge.world.url).port
            assert answers(port)


async def test_a_port_in_use_is_one_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"cannot listen on 127.0.0.1:{port}: .* --port"):
            async with serving(demo_world(), port=port):
                pass


def test_without_git_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitFailed, match="git program is needed"):
        demo_world()


def test_a_base_url_of_its_own(simulators):
    async def base() -> str:
        async with serving(demo_world(), port=0, url="https://gitlab.example.com/") as forge:
            return forge.world.url

    assert asyncio.run_coroutine_threadsafe(base(), simulators).result(20) == "https://gitlab.example.com"


def test_as_a_program_it_ends_on_sigterm(tmp_path):
    code = "from gitpulse_sim.server import run; run(port=0, ready=lambda world: print(world.url, flush=True))"
    log = tmp_path / "sim.log"
    with running([sys.executable, "-c", code], log=log, ready=lambda: log.read_text().endswith("\n")) as process:
        url = log.read_text().strip()
        assert requests.get(f"{url}/api/v4/version", params={"private_token": "demo-token"}, timeout=9).ok
        stop(process)
        assert process.returncode == 0
    assert log.read_text() == f"{url}\n"


def test_the_page_says_what_it_is(simulator, hook):
    page = requests.get(simulator.url, timeout=9).text
    for word in ("This is not GitLab", "acme/website", "demo-token", hook.url):
        assert word in page


def test_the_help_names_every_door(simulator):
    text = requests.get(f"{simulator.url}/-/sim/", timeout=9).text
    assert "POST /-/sim/push  {project, user?, branch?, commits?, message?}" in text
    assert "GET /-/sim/truth" in text


def test_a_replay_by_remote_control(simulator, door):
    url = f"{simulator.url}/-/sim"
    assert requests.get(f"{url}/activity", timeout=9).json()["state"] == "idle"
    assert door("activity", projects=["acme/api"], days=2).json() == {"started": ["acme/api"], "days": 2}
    assert door("activity").status_code == 400
    wait_until(lambda: requests.get(f"{url}/activity", timeout=9).json()["state"] == "done", timeout=90)
    website, api = requests.get(f"{url}/truth", timeout=9).json()
    assert (website["commits"], api["commits"] > 0) == (0, True)


def test_a_push_by_remote_control(simulator, door, hook, target):
    assert door("push", project="acme/website", user="emeka", commits=2).json()["commits"] == 2
    door("push", project="acme/website", branch="f")
    sent = requests.get(f"{simulator.url}/-/sim/idle", timeout=9).json()["sent"]
    assert sent == len(target.take()) == 2


def test_clock_settings_and_faults(simulator, door, api):
    assert door("clock", now="2026-01-02T03:04:05Z", advance=60).json() == {"now": "2026-01-02T03:05:05+00:00"}
    now = datetime.fromisoformat(door("clock", follow=True).json()["now"])
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert door("settings", set={"version": "17.3.0", "tier": "free"}).json()["tier"] == "free"
    assert api("GET", "/version").json()["version"] == "17.3.0"
    door("faults", add={"status": 503})
    assert api("GET", "/version").status_code == 503


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("push", {"project": "none"}, "there is no project none"),
        ("push", {}, "missing required field `project`"),
        ("push", {"project": "acme/api", "user": "zed"}, "there is no user zed"),
        ("settings", {"set": {"colour": 1}}, "no such setting: colour"),
        ("settings", {"set": {"tier": "gold"}}, "gold"),
        ("settings", {"set": {"time_zone": "Mars"}}, "time_zone: 'Mars' is not known"),
        ("settings", {"set": {"time_zone": "Europe"}}, "time_zone: 'Europe' is not known"),
        ("settings", {"set": {"version": "new"}}, "version: 'new' is none"),
    ],
)
def test_a_wrong_command_is_one_line(door, path, body, words):
    reply = door(path, **body)
    assert reply.status_code == 400
    assert words in reply.json()["error"]
    assert "\n" not in reply.json()["error"]
