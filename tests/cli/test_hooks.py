"""`gitpulse hooks orphans` as its user runs it: what it prints, what it removes, its exit codes."""

import asyncio
import base64
import json
import os
import subprocess
import sys

from gitpulse_sim.hook import Hook
from harness.house import PUBLIC_URL, House


def run(house: House, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "GITPULSE_INSTALLATION_KEY": base64.b64encode(house.key).decode(),
        "GITPULSE_PUBLIC_URL": PUBLIC_URL,
        "GITPULSE_REDIS_URL": "redis://127.0.0.1:1/0",  # it needs none
    }
    argv = [sys.executable, "-m", "gitpulse_cli", "hooks", "orphans", *more]
    env = {**os.environ, **settings, **environment}
    return subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=60)


def test_orphans_are_listed_and_deleted_when_asked_for(tmp_path, simulator, redis_url, installation_key):
    house = House(tmp_path, simulator, redis_url, installation_key)
    house.projects["lost"] = house.project(project="acme/api", deletionPolicy="Orphan")
    asyncio.run(house.run())
    files = ["-f", str(house.manifests), "--state", str(house.state)]
    done = run(house, *files)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    del house.projects["lost"]
    house.write()
    person = Hook(
        id=77, parent_kind="project", parent_id=2, created_at=simulator.world.clock.now(), url="https://a.b/c"
    )
    simulator.api.hooks[77] = person

    done = run(house, *files, COLUMNS="200")
    (hook, _) = simulator.api.hooks.values()
    assert done.returncode == 1
    (row,) = [line for line in done.stdout.splitlines() if "acme/api" in line]
    assert all(part in row for part in (simulator.url, str(hook.id), hook.name, "GitPulseProject default/lost is gone"))
    assert len(simulator.api.hooks) == 2, "nothing is removed unasked"

    done = run(house, *files, "--delete", "--output", "json")
    (orphan,) = json.loads(done.stdout)["orphans"]
    assert (done.returncode, orphan["path"], orphan["hook"], orphan["deleted"]) == (0, "acme/api", hook.id, True)
    assert list(simulator.api.hooks.values()) == [person]
    assert len(simulator.website.hooks) == 1


def test_what_cannot_be_looked_at_is_said_with_a_code_of_its_own(tmp_path, simulator, redis_url, installation_key):
    house = House(tmp_path, simulator, redis_url, installation_key)
    house.token = "wrong"
    house.write()
    done = run(house, "-f", str(house.manifests))
    assert done.returncode == 2
    assert "put a valid one into its Secret" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_one_line(tmp_path, simulator, redis_url, installation_key):
    house = House(tmp_path, simulator, redis_url, installation_key)
    house.write()
    done = run(house, "-f", str(house.manifests), GITPULSE_PUBLIC_URL="nowhere")
    assert done.returncode == 2
    assert "GITPULSE_PUBLIC_URL: must start with" in done.stderr
