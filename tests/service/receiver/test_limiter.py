"""Limits: refused requests of one address, authentic ones of one hook, over all receivers, and without Redis."""

import asyncio
import contextlib
import time

import pytest
from prometheus_client import REGISTRY

from gitpulse_service.contract import Credential, SettingsError
from gitpulse_service.receiver import limiter
from gitpulse_service.receiver.limiter import Limiter, rate
from harness.event_log import open_log
from harness.processes import free_port
from harness.receiver import eventually, receiver, settings


@contextlib.asynccontextmanager
async def limiting(redis_url, text):
    """A limiter that settles."""
    limits = Limiter(redis_url, "test", rate("X", text))
    settling = asyncio.create_task(limits.run())
    yield limits
    settling.cancel()
    await limits.aclose()


async def refused(client, **headers):
    return await client.deliver(token="wrong", **headers)


async def statuses(client, count, **delivery):
    return [(await client.deliver(**{"token": "wrong"} | delivery)).status_code for _ in range(count)]


async def increments(redis):
    """How often something was counted in Redis so far."""
    return (await redis.info("commandstats")).get("cmdstat_incrby", {"calls": 0})["calls"]


async def test_too_many_refused_requests(redis_url, redis, publish, installation_key):
    await publish("managed", Credential(1, "token"))
    async with receiver(settings(redis_url, installation_key=installation_key, refused_limit="6/hour")) as client:

        async def loaded():
            return (await client.get("/api/v1/ready")).status_code == 200

        await eventually(loaded)
        assert await statuses(client, 6) == [401] * 6
        answers = [await client.deliver(hook, token="wrong") for hook in ("", "managed", "unknown")]
        assert [a.status_code for a in answers] == [429] * 3
        assert len({a.content for a in answers}) == 1
        assert set(answers[0].headers) == {"date", "content-type", "content-length", "retry-after"}
        assert 3500 < int(answers[0].headers["retry-after"]) <= 3600
        assert await statuses(client, 20, token="token", hook_id="managed") == [200] * 20


async def test_after_retry_after_it_is_401_again_and_then_429(redis_url):
    async with receiver(settings(redis_url, refused_limit="3 per 2 seconds")) as client:

        async def retry_after():
            return (await refused(client)).headers.get("retry-after")

        waited = time.monotonic() + int(await eventually(retry_after))
        await eventually(lambda: limited(client, status=401))
        assert time.monotonic() < waited + 1
        assert int(await eventually(retry_after)) > 0


async def limited(client, status=429):
    return (await refused(client)).status_code == status


async def test_two_receivers_share_a_limit(redis_url, redis):
    both = settings(redis_url, refused_limit="20/hour")
    async with receiver(both) as one, receiver(both) as other:
        assert await statuses(one, 21) == [401] * 20 + [429]

        async def settled():
            return int(await redis.get("gitpulse:limits:LIMITER/refused/127.0.0.1/20/1/hour") or 0) == 21

        await eventually(settled)
        answers = await statuses(other, 20)
        assert answers == sorted(answers)
        assert 0 < answers.count(401) < 20  # a tenth, and what comes before Redis has said so
        assert await limited(other)


async def test_a_flood_of_requests_is_none_of_calls_to_redis(redis_url, redis):
    before = await increments(redis)
    async with limiting(redis_url, "100/hour") as limits:
        for _ in range(100):
            for _ in range(100):
                limits.hit("flood")
            await asyncio.sleep(0)

        async def settled():
            return int(await redis.get("gitpulse:limits:LIMITER/test/flood/100/1/hour") or 0) == 101

        await eventually(settled)
        assert limits.hit("flood") > 0
    assert 0 < await increments(redis) - before <= 12


async def test_few_requests_of_many_addresses_leave_nothing(redis_url, redis, monkeypatch):
    monkeypatch.setattr(limiter, "MOST", 50)
    async with limiting(redis_url, "100/hour") as limits:
        for address in range(500):
            for _ in range(9):
                assert limits.hit(str(address)) == 0
        assert len(limits._windows) == 50
        for _ in range(10):
            limits.hit("persistent")
        await eventually(lambda: redis.exists("gitpulse:limits:LIMITER/test/persistent/100/1/hour"))
    assert len(await redis.keys("gitpulse:limits:*")) == 1


async def test_the_forgotten_are_remembered_by_redis(redis_url, redis, monkeypatch):
    monkeypatch.setattr(limiter, "MOST", 5)
    async with limiting(redis_url, "10/hour") as limits:
        for _ in range(11):
            limits.hit("bad")
        await eventually(lambda: redis.exists("gitpulse:limits:LIMITER/test/bad/10/1/hour"))
        for address in range(5):
            limits.hit(str(address))

        async def over():
            return limits.hit("bad") > 3000

        assert limits.hit("bad") == 0
        await eventually(over)


async def test_a_window_in_redis_is_the_one_that_counts(redis_url, redis):
    """Another receiver's began 2,000 s ago: its end is when to come back."""
    key = "gitpulse:limits:LIMITER/test/bad/10/1/hour"
    await redis.set(key, 10, ex=1600)
    async with limiting(redis_url, "10/hour") as limits:

        async def over():
            return limits.hit("bad")

        assert 1500 < await eventually(over) <= 1601
        assert await redis.get(key) == b"11"


async def test_without_redis_each_receiver_limits_by_itself():
    def failures():
        return REGISTRY.get_sample_value("gitpulse_limit_failures_total") or 0

    before, started = failures(), time.monotonic()
    async with receiver(settings(f"redis://127.0.0.1:{free_port()}/0", refused_limit="5/hour")) as client:
        assert await statuses(client, 7) == [401] * 5 + [429] * 2
        assert (await client.deliver()).status_code == 503

        async def counted():
            return failures() > before

        await eventually(counted)
    assert time.monotonic() - started < 10


async def test_a_limit_of_each_hook(redis_url, publish, installation_key):
    await publish("one", Credential(1, "token"))
    await publish("two", Credential(1, "token"))
    log = open_log(redis_url, partitions=16)
    async with receiver(settings(redis_url, installation_key=installation_key, hook_limit="3/hour")) as client:

        async def loaded():
            return (await client.get("/api/v1/ready")).status_code == 200

        await eventually(loaded)
        assert await statuses(client, 5, hook_id="one", token="token") == [200] * 3 + [429] * 2
        answer = await client.deliver("one", token="token")
        assert (answer.json()["reason"], int(answer.headers["retry-after"]) > 3500) == ("too_many_requests", True)
        assert await statuses(client, 1, hook_id="one") == [401]
        assert await statuses(client, 1, hook_id="two", token="token") == [200]
        assert (await client.deliver()).status_code == 200
        assert sum((await log.backlog()).values()) == 5
    await log.aclose()


async def test_no_limit(redis_url, redis):
    async with receiver(settings(redis_url, refused_limit=" ")) as client:
        assert set(await statuses(client, 150)) == {401}
    assert await redis.keys("gitpulse:limits:*") == []


@pytest.mark.parametrize("text", ["100", "minute", "100/fortnight", "0/minute", "-1/minute", "1/second;9/minute", "x"])
def test_what_is_no_limit(text):
    with pytest.raises(SettingsError, match=r"^GITPULSE_X: is no limit; write one such as 100/minute[^\n]*$"):
        rate("GITPULSE_X", text)


def test_what_is_one():
    assert [str(rate("X", text)) for text in ("100/minute", "5 per 10 seconds", "1000/2hours")] == [
        "100 per 1 minute",
        "5 per 10 second",
        "1000 per 2 hour",
    ]
    assert rate("X", "") is None
