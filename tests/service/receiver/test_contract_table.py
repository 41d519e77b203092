"""The receiver's contract, row by row, on a real server: what arrives, what is answered, what is kept."""

import json

import pytest
from prometheus_client import REGISTRY

from gitpulse_service.contract import DIRECTORY_ACKS, DIRECTORY_CHANGES, Credential, feedback_key
from gitpulse_service.log.redis_log import DEAD
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.receiver import PUSH, SECRET, client_of, eventually, receiver, serving, settings

UNAUTHORIZED = {
    "status": "error",
    "reason": "unauthorized",
    "message": "No such hook, or its secret is missing, wrong or out of date.",
}
KEY = bytes(range(32))


def counted(status, reason=""):
    return REGISTRY.get_sample_value("gitlab_webhook_requests_total", {"status": status, "reason": reason}) or 0


@pytest.fixture(scope="module")
def port(redis_process):
    with serving(settings(redis_process.url, installation_key=KEY)) as port:
        yield port


@pytest.fixture
async def client(port, redis, publish):
    await publish("managed", Credential(2, "new", KEY), Credential(1, "old"), complete=False)
    await publish("strict", Credential(1, "token", KEY), require_signature=True)
    async with client_of(port) as client:
        await eventually(lambda: is_followed(redis))
        yield client


async def is_followed(redis):
    """Whether the receiver has come as far as the directory has."""
    ((newest, _),) = await redis.xrevrange(DIRECTORY_CHANGES, count=1)
    return any(ack.startswith(newest + b" ") for ack in await redis.hvals(DIRECTORY_ACKS))


async def stored(redis_url):
    """All that is in the log, taken out of it."""
    log, entries = open_log(redis_url, partitions=16), []
    for partition in range(16):
        entries += await log.read(partition, consumer="test", count=1000, size=1 << 30)
    await log.acknowledge(entries)
    await log.aclose()
    return entries


async def test_authentic_and_wanted(client, redis_url):
    before = counted("accepted")
    answer = await client.deliver(name="one", X_Gitlab_Instance="https://gitlab.example.com/")
    (entry,) = await stored(redis_url)
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted", "job_id": entry.job_id})
    assert answer.headers["content-type"] == "application/json"
    kept = entry.envelope
    assert (kept.hook_id, kept.delivery_id, kept.event, kept.generation) == ("", "one", "Push Hook", 0)
    assert kept.instance == "https://gitlab.example.com"
    assert json.loads(kept.body) == PUSH
    assert counted("accepted") == before + 1


async def test_a_managed_hook_speaks_for_its_own_gitlab_alone(client, redis_url):
    await client.deliver("managed", token="new", name="one", X_Gitlab_Instance="https://other.example")
    (entry,) = await stored(redis_url)
    assert entry.envelope.instance == "https://gitlab.example.com"


async def test_a_managed_hook_notes_the_secret_that_proved_it(client, redis, redis_url):
    assert (await client.deliver("managed", token="new", name="one")).json()["status"] == "accepted"
    assert (await client.deliver("managed", token="old", name="two")).json()["status"] == "accepted"
    notes = await redis.hgetall(feedback_key("managed"))
    assert {b"accepted:1", b"accepted:2"} <= set(notes)
    first, second = (e.envelope for e in await stored(redis_url))
    assert (first.hook_id, first.generation, first.instance) == ("managed", 2, "https://gitlab.example.com")
    assert second.generation == 1
    assert abs(int(notes[b"accepted:1"]) - second.received_at) == 0


async def test_a_delivery_already_accepted(client, redis_url):
    before = counted("duplicate")
    first = await client.deliver(name="one")
    again = await client.deliver(name="one", webhook_id="")
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "job_id": first.json()["job_id"]})
    assert counted("duplicate") == before + 1
    assert len(await stored(redis_url)) == 1


async def test_a_delivery_without_an_id_is_never_a_duplicate(client):
    answers = [(await client.deliver()).json()["status"] for _ in range(2)]
    assert answers == ["accepted", "accepted"]


async def test_webhook_id_is_asked_before_idempotency_key(client, redis_url):
    await client.deliver(name="key", webhook_id="id")
    await client.deliver(webhook_id="x" * 5000)
    first, second = (e.envelope.delivery_id for e in await stored(redis_url))
    assert first == "id"
    assert len(second) == 64


@pytest.mark.parametrize(
    ("event", "body", "reason"),
    [
        ("Wiki Page Hook", {"object_kind": "wiki_page"}, "unwanted_kind"),
        ("Push Hook", {"text": "somebody pushed"}, "custom_template"),
        ("Push Hook", {"object_kind": 7}, "custom_template"),
        ("Push Hook", {}, "custom_template"),
    ],
)
async def test_authentic_and_not_wanted(client, redis_url, event, body, reason):
    before = counted("ignored", reason)
    answer = await client.deliver(body=body, X_Gitlab_Event=event)
    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert counted("ignored", reason) == before + 1
    assert await stored(redis_url) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"hello=world", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "not_an_object"),
        (b'{"object_kind":' + b"[" * 100_000, "not_json"),
        (b"[]", "not_an_object"),
        (b'"push"', "not_an_object"),
        (b"null", "not_an_object"),
    ],
)
async def test_authentic_and_malformed(client, redis, redis_url, body, reason):
    before = counted("error", reason)
    answer = await client.deliver(body=body, name="bad")
    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["reason"]) == ("error", reason)
    assert counted("error", reason) == before + 1
    ((_, letter),) = await redis.xrange(DEAD)
    assert letter[b"reason"].decode() == reason
    assert await stored(redis_url) == []


@pytest.mark.parametrize(
    ("hook", "token", "headers", "reason"),
    [
        ("", "wrong", {}, "wrong_token"),
        ("", "", {}, "no_secret"),
        ("managed", "wrong", {}, "wrong_token"),
        ("managed", SECRET, {}, "wrong_token"),
        ("managed", "new", {"webhook_signature": "v1,AAAA"}, "wrong_signature"),
        ("strict", "token", {}, "signature_required"),
        ("unknown", "new", {}, "unknown_hook"),
        ("unknown" * 500, "new", {}, "unknown_hook"),
        ("%00%ff", "new", {}, "unknown_hook"),
    ],
)
async def test_not_authentic(client, redis, redis_url, hook, token, headers, reason):
    before = counted("error", reason)
    answer = await client.deliver(hook, token=token, **headers)
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
    assert set(answer.headers) == {"date", "content-type", "content-length"}
    assert counted("error", reason) == before + 1
    assert await stored(redis_url) == []
    if hook in ("managed", "strict"):
        notes = await eventually(lambda: redis.hgetall(feedback_key(hook)))
        assert notes[b"refused:reason"].decode() == reason
    assert await redis.xlen(DEAD) == 0


async def test_strangers_leave_no_keys(client, redis):
    before = set(await redis.keys())
    for i in range(20):
        await client.deliver(f"unknown{i}", token="x", name=f"name{i}")
    await client.deliver("managed", token="x")
    await eventually(lambda: redis.exists(feedback_key("managed")))
    left = set(await redis.keys()) - before - {feedback_key("managed").encode()}
    assert all(key.startswith(b"gitpulse:limits:") for key in left)
    assert len(left) <= 1  # one address's count


async def test_no_manual_hook_without_its_secret(redis_url):
    async with receiver(settings(redis_url, GITLAB_WEBHOOK_SECRET=None)) as client:
        for hook in ("", "managed"):
            answer = await client.deliver(hook)
            assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_only_post_delivers(client, method):
    for path in ("/api/v1/webhooks/gitlab", "/api/v1/webhooks/gitlab/managed"):
        answer = await client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/webhooks/gitlabs", "/api/v1/webhooks/gitlab/a/b", "/docs", "/openapi.json", "/metrics"]
)
async def test_there_is_nothing_else(client, path):
    assert (await client.post(path, content=b"{}")).status_code == 404
    assert (await client.get(path)).status_code in (404, 405)


@pytest.mark.parametrize("path", ["/api/v1/webhooks/gitlab/", "/api/v1/webhooks/gitlab?x=1"])
async def test_the_manual_hooks_path_forgives(client, path):
    answer = await client.post(path, content=json.dumps(PUSH), headers={"X-Gitlab-Token": SECRET})
    assert answer.json()["status"] == "accepted"


async def test_health_and_readiness(client):
    assert (await client.get("/api/v1/health")).json() == {"status": "ok"}
    assert (await client.get("/api/v1/ready")).json() == {"status": "ready"}


async def test_too_many_refused_requests_from_one_address(redis_url):
    async with receiver(settings(redis_url)) as client:
        before = counted("error", "refused_limit")
        answers = [await client.deliver(token="wrong") for _ in range(101)]
        assert [a.status_code for a in answers] == [401] * 100 + [429]
        assert (answers[-1].json()["reason"], int(answers[-1].headers["retry-after"]) <= 60) == (
            "too_many_requests",
            True,
        )
        assert counted("error", "refused_limit") == before + 1
        assert (await client.deliver()).json()["status"] == "accepted"
    assert len(await stored(redis_url)) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_addresses_outside_the_allow_list(redis_url, host):
    allowed = settings(redis_url, allowed_addresses="198.51.100.0/24 2a00::/16", trusted_proxies="127.0.0.1,::1")
    with serving(allowed, host=host) as port:
        async with client_of(port, f"[{host}]" if ":" in host else host) as client:
            before = counted("error", "address")
            for forwarded in ({}, {"X_Forwarded_For": "198.51.101.1"}, {"X_Forwarded_For": "198.51.100.1, 2b00::1"}):
                answer = await client.deliver(**forwarded)
                assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")
                assert answer.headers["connection"] == "close"
            assert counted("error", "address") == before + 3
            assert await stored(redis_url) == []
            for forwarded in ("198.51.100.1", "203.0.113.9, 2a00::7, 127.0.0.1"):
                assert (await client.deliver(X_Forwarded_For=forwarded)).json()["status"] == "accepted"
            assert (await client.deliver(token="wrong", X_Forwarded_For="198.51.100.1")).status_code == 401
            assert (await client.get("/api/v1/health")).status_code == 200  # for whoever watches the process
    assert len(await stored(redis_url)) == 2


async def test_a_stranger_cannot_name_its_address(redis_url):
    async with receiver(
        settings(redis_url, allowed_addresses="198.51.100.1", trusted_proxies="198.51.100.1")
    ) as client:
        assert (await client.deliver(X_Forwarded_For="198.51.100.1")).status_code == 403
    async with receiver(settings(redis_url, refused_limit="3/hour", trusted_proxies="198.51.100.1")) as client:
        answers = [await client.deliver(token="wrong", X_Forwarded_For=f"192.0.2.{i}") for i in range(4)]
        assert [a.status_code for a in answers] == [401] * 3 + [429]
    async with receiver(settings(redis_url, refused_limit="3/hour", trusted_proxies="127.0.0.1")) as client:
        answers = [await client.deliver(token="wrong", X_Forwarded_For=f"192.0.2.{i}") for i in range(4)]
        assert [a.status_code for a in answers] == [401] * 4


async def test_a_full_log(redis_url):
    async with receiver(settings(redis_url, max_backlog=1000)) as client:
        log = open_log(redis_url, partitions=16)
        await log.append([envelope(str(i)) for i in range(1000)])
        await log.aclose()
        before = counted("error", "LogFull")
        answer = await client.deliver()
        assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert counted("error", "LogFull") == before + 1


async def test_the_numbers_are_served_beside_where_there_is_a_database(redis_url, tmp_path):
    url = f"sqlite:///{tmp_path / 'gitpulse.db'}"
    engine = create_engine(url)
    await migrate(engine)
    await engine.dispose()
    async with receiver(settings(redis_url, database_url=url, api_tokens_required=False)) as client:
        assert (await client.get("/api/v1/projects")).json() == {"items": [], "next": None}
        assert (await client.deliver()).json()["status"] == "accepted"
    async with receiver(settings(redis_url)) as client:
        assert (await client.get("/api/v1/projects")).status_code == 404
