"""Teams on a real Kubernetes API: followed while the operator runs, and put right for what it has missed."""

from __future__ import annotations

import pytest

from gitpulse_service.contract import DIRECTORY_SHARDS, TEAMS, Team, unseal
from harness.cluster import eventually
from harness.house import resource

pytestmark = pytest.mark.cluster
MEMBERS = {"members": [{"name": "Ann", "emails": ["ann@acme.example"]}]}


@pytest.fixture
def teams(cluster, redis):
    """Name -> members of the teams that workers can read."""

    def read() -> dict[str, list[str]]:
        found = {
            place.decode(): unseal(cluster.settings.installation_key, place.decode(), record, Team)
            for place, record in redis.hgetall(TEAMS).items()
        }
        assert all(place.startswith(f"{cluster.namespace}/") for place in found)
        return {team.name: [member.name for member in team.members] for team in found.values()}

    return read


async def test_a_team_is_followed_from_its_beginning_to_its_end(cluster, teams):
    async with cluster.operator():
        cluster.apply(resource("GitPulseTeam", "acme", MEMBERS))
        await eventually(lambda: cluster.ready("gitpulseteam", "acme") == ("True", "InUse"), what="in use")
        assert teams() == {"acme": ["Ann"]}
        status = cluster.get("gitpulseteam", "acme")["status"]
        assert (status["members"], status["observedGeneration"]) == (1, 1)
        cluster.apply(resource("GitPulseTeam", "acme", {"members": [{"name": "Ben"}]}))
        await eventually(lambda: teams() == {"acme": ["Ben"]}, what="changed")
        cluster.delete("gitpulseteam/acme")
        await eventually(lambda: teams() == {}, what="withdrawn")


async def test_a_contradiction_is_told_to_both_and_ends_for_both(cluster, teams):
    async with cluster.operator():
        cluster.apply(resource("GitPulseTeam", "acme", MEMBERS))
        await eventually(lambda: cluster.ready("gitpulseteam", "acme") == ("True", "InUse"), what="in use")
        cluster.apply(resource("GitPulseTeam", "ops", {"members": [{"name": "Ben", "emails": ["Ann@acme.example"]}]}))
        taken = ("False", "AliasTaken")
        for name in ("acme", "ops"):
            await eventually(lambda n=name: cluster.ready("gitpulseteam", n) == taken, what=f"told to {name}")
        cluster.delete("gitpulseteam/ops")
        await eventually(lambda: cluster.ready("gitpulseteam", "acme") == ("True", "InUse"), what="in use again")


async def test_what_was_missed_is_made_good_and_nothing_written_twice(cluster, teams, redis):
    async with cluster.operator():
        for name in ("acme", "gone"):
            cluster.apply(resource("GitPulseTeam", name, {"members": [{"name": f"Ann of {name}"}]}))
        await eventually(lambda: set(teams()) == {"acme", "gone"}, what="published")
        await eventually(lambda: cluster.ready("gitpulseteam", "gone"), what="a status")
        await eventually(lambda: cluster.ready("gitpulseteam", "acme"), what="a status")
    cluster.delete("gitpulseteam/gone")
    redis.delete(DIRECTORY_SHARDS)
    before = cluster.versions()
    async with cluster.operator():
        await eventually(lambda: redis.exists(DIRECTORY_SHARDS), what="a complete directory")
        assert set(teams()) == {"acme"}, "complete means that all are there, and no others"
        redis.flushall()
        await eventually(lambda: redis.exists(DIRECTORY_SHARDS), what="complete again")
        assert set(teams()) == {"acme"}
    assert cluster.versions() == before
