"""`gitpulse hooks orphans` as its user runs it: what it prints, what it removes, its exit codes."""

import asyncio
import base64

import pytest

from gitpulse_sim.hook import Hook
from harness.house import PUBLIC_URL, House


@pytest.fixture
def orphans(gitpulse, house, monkeypatch):
    monkeypatch.setenv("GITPULSE_INSTALLATION_KEY", base64.b64encode(house.key).decode())
    monkeypatch.setenv("GITPULSE_PUBLIC_URL", PUBLIC_URL)
    monkeypatch.setenv("GITPULSE_REDIS_URL", "redis://127.0.0.1:1/0")  # it needs none
    return lambda *more: gitpulse("hooks", "orphans", "-f", house.manifests, *more)


def test_orphans_are_listed_and_deleted_when_asked_for(house: House, orphans, simulator, gitpulse):
    house.projects["lost"] = house.project(project="acme/api", deletionPolicy="Orphan")
    asyncio.run(house.run())
    assert orphans()[:2] == (0, "")
    assert gitpulse.json("hooks", "orphans", "-f", house.manifests) == []
    del house.projects["lost"]
    house.write()
    person = Hook(
        id=77, parent_kind="project", parent_id=2, created_at=simulator.world.clock.now(), url="https://a.b/c"
    )
    simulator.api.hooks[77] = person

    done = orphans()
    (hook, _) = simulator.api.hooks.values()
    assert done.code == 1
    (row,) = [line for line in done.out.splitlines() if "acme/api" in line]
    assert all(part in row for part in (simulator.url, str(hook.id), hook.name, "GitPulseProject default/lost is gone"))
    assert "1 orphans in" in done.err
    assert len(simulator.api.hooks) == 2, "nothing is removed unasked"

    (orphan,) = gitpulse.json("hooks", "orphans", "-f", house.manifests)
    assert (orphan["path"], orphan["hook"], orphan["deleted"]) == ("acme/api", hook.id, False)
    done = orphans("--delete")
    assert (done.code, done.table[1][-1]) == (0, "yes")
    assert list(simulator.api.hooks.values()) == [person]
    assert len(simulator.website.hooks) == 1


def test_what_cannot_be_looked_at_is_said(house: House, orphans):
    house.token = "wrong"
    house.write()
    done = orphans()
    assert done.code == 1
    assert "put a valid one into its Secret" in done.err


def test_a_wrong_setting_is_one_line(house: House, orphans, monkeypatch):
    house.write()
    monkeypatch.setenv("GITPULSE_PUBLIC_URL", "nowhere")
    done = orphans()
    assert done.code == 2
    assert "GITPULSE_PUBLIC_URL: must start with" in done.err
