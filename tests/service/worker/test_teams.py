"""What the operator says of teams reaches the map of people, and nothing else does."""

from __future__ import annotations

import asyncio
import os

import pytest
import redis as redis_client

from gitpulse_service.contract import DIRECTORY_SHARDS, TEAMS, Person, Team, seal
from gitpulse_service.log.connection import connect
from gitpulse_service.log.teams import Teams
from gitpulse_service.store import people
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from harness.processes import SCRIPTS, free_port, running, wait_until

ACME = Team("acme", (Person("Ann"),), namespace="default")


@pytest.fixture
def redis(redis_url):
    with redis_client.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def publish(redis, installation_key):
    def publish(*teams: Team, key: bytes = installation_key) -> None:
        redis.delete(TEAMS)
        for team in teams:
            redis.hset(TEAMS, f"{team.namespace}/{team.name}", seal(key, team))

    redis.hset(DIRECTORY_SHARDS, "", "1")
    return publish


@pytest.fixture
async def sync(redis_url, installation_key):
    """Syncs once; what was taken over, or None."""
    client = connect(redis_url)
    teams = Teams(client, installation_key)

    async def sync():
        taken = []

        async def take(teams: list[Team]) -> None:
            taken.append(teams)

        await teams.sync(take)
        return taken[0] if taken else None

    yield sync
    await client.aclose()


async def test_each_change_is_handed_over_once(publish, sync):
    publish(ACME)
    assert await sync() == [ACME]
    assert await sync() is None
    publish()
    assert await sync() == []


async def test_a_redis_that_has_lost_its_data_takes_nobody_out_of_a_team(publish, sync, redis):
    publish(ACME)
    assert await sync() == [ACME]
    redis.flushall()
    assert await sync() is None


async def test_what_does_not_open_is_no_news(publish, sync, caplog):
    publish(ACME)
    assert await sync() == [ACME]
    publish(ACME, key=bytes(32))
    assert await sync() is None
    assert "GITPULSE_INSTALLATION_KEY" in caplog.text


async def test_what_the_store_did_not_take_is_handed_over_again(redis_url, installation_key, publish):
    publish(ACME)
    tries = []

    async def fail(teams: list[Team]) -> None:
        tries.append(teams)
        raise ValueError

    async with connect(redis_url) as client:
        teams = Teams(client, installation_key)
        for _ in range(2):
            with pytest.raises(ValueError):  # noqa: PT011
                await teams.sync(fail)
    assert len(tries) == 2


def members() -> set[tuple[str, str]]:
    async def read() -> set[tuple[str, str]]:
        engine = create_engine(os.environ["GITPULSE_DATABASE_URL"])
        try:
            await migrate(engine)
            return (await people.whole(engine)).members
        finally:
            await engine.dispose()

    return asyncio.run(read())


def test_a_worker_follows_teams(service_environment, publish, tmp_path):
    publish(ACME)
    argv = [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(free_port())]
    log = tmp_path / "worker.log"
    with running(argv, log=log, ready=(tmp_path / "gitpulse.db").exists):
        wait_until(lambda: members() == {("acme", "Ann")}, timeout=20, what="the team")
        publish(Team("acme", (Person("Ben"),), namespace="default"))
        wait_until(lambda: members() == {("acme", "Ben")}, timeout=20, what="the change")
