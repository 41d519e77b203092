"""Deliveries: section 9 line 2, the rules of 1.1 to 1.8."""

from __future__ import annotations

import base64
import json
import re
import uuid
from datetime import timedelta

import pytest
import standardwebhooks

from gitpulse_sim.deliver import Event, sign, signing_key
from gitpulse_sim.repository import Draft, Person
from harness.target import running_target

KEY = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_the_known_answer_vector():
    """9.2: the signature of 1.2 over the exact bytes."""
    key = signing_key(KEY)
    assert key == bytes(range(32))
    signature = sign(key, "f5e5f430-f57b-4e6e-9fac-d9128cd7232f", 1744578123, b'{"object_kind":"push","project_id":1}')
    assert signature == "v1,wDwPOnNlkrr0fHWhaLLYFK85dBqf2aFKR1Bxd01ej0s="


@pytest.mark.parametrize("token", ["", "whsec_", "whsec_AAEC", KEY.removeprefix("whsec_"), KEY[:-1], KEY + "AAAA"])
def test_a_signing_token_is_32_bytes(token):
    """9.2: anything but `whsec_` and base64 of 32 bytes is none."""
    assert signing_key(token) is None


def test_the_published_library_accepts_the_signature(simulator, website, target):
    """9.2: both secrets set, both headers sent; Standard Webhooks verifies, and refuses a changed byte."""
    website.hooks.create({"url": target.url, "token": "plain", "signing_token": KEY})
    simulator.push()
    got = target.one()
    assert got.headers["X-Gitlab-Token"] == "plain"
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: got.headers[name] for name in names}
    standardwebhooks.Webhook(KEY).verify(got.body, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(KEY).verify(got.body + b" ", headers)


def test_headers(simulator, hook, target):
    """9.2: the headers of 1.1, for 19.1."""
    simulator.push()
    headers = target.one().headers
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "GitLab/19.1.0"
    assert headers["X-Gitlab-Event"] == "Push Hook"
    assert headers["X-Gitlab-Instance"] == simulator.url
    assert headers["X-Gitlab-Token"] == "secret"
    assert headers["webhook-id"] == headers["Idempotency-Key"]
    assert abs(int(headers["webhook-timestamp"]) - simulator.world.clock.now().timestamp()) < 30
    assert "webhook-signature" not in headers
    for name in ("X-Gitlab-Event-UUID", "X-Gitlab-Webhook-UUID", "webhook-id"):
        assert str(uuid.UUID(headers[name])) == headers[name]


@pytest.mark.parametrize(
    ("version", "there", "missing"),
    [
        ("17.3.0", [], ["Idempotency-Key", "webhook-id"]),
        ("17.4.0", ["Idempotency-Key"], ["webhook-id", "webhook-timestamp"]),
        ("18.9.1", ["Idempotency-Key"], ["webhook-id", "webhook-signature"]),
        ("19.0.0", ["Idempotency-Key", "webhook-id", "webhook-timestamp", "webhook-signature"], []),
    ],
)
def test_headers_by_version(simulator, hook, target, version, there, missing):
    """9 state: 17.4 brought Idempotency-Key, 19.0 the webhook-* headers."""
    simulator.website.hooks[hook.id].signing_token = KEY
    simulator.world.instance.version = version
    simulator.push()
    headers = target.one().headers
    assert all(name in headers for name in there)
    assert not any(name in headers for name in missing)


def test_ids_are_fresh_but_for_none(simulator, hook, target):
    """9.2: every delivery has its own webhook-id, Event-UUID and Webhook-UUID."""
    simulator.push()
    simulator.push()
    first, second = target.take()
    for name in ("webhook-id", "X-Gitlab-Event-UUID", "X-Gitlab-Webhook-UUID"):
        assert first.headers[name] != second.headers[name]


def test_custom_headers_lose_on_a_clash(simulator, website, target):
    """9.2: delivery headers win (1.1)."""
    mine = [{"key": "X-Mine", "value": "1"}, {"key": "x-gitlab-event", "value": "Fake"}]
    website.hooks.create({"url": target.url, "custom_headers": mine})
    simulator.push()
    headers = target.one().headers
    assert (headers["X-Mine"], headers.get_all("X-Gitlab-Event")) == ("1", ["Push Hook"])


def test_user_info_and_variables_in_the_url(simulator, website, target):
    """9.2: user-info becomes Basic auth and leaves the URL; `{name}` is filled in."""
    url = target.url.replace("http://", "http://me:p%40ss@") + "/{place}"
    website.hooks.create({"url": url, "url_variables": [{"key": "place", "value": "here"}]})
    simulator.push()
    got = target.one()
    assert got.headers["Authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert got.path == "/hook/here"
    assert "@" not in got.headers["Host"]


def test_a_custom_template_is_what_is_sent(simulator, website, target):
    """9.2, 1.4: a template digs into the payload, and what is not JSON fails as an internal error."""
    template = '{"who":"{{user_username}}","n":{{total_commits_count}},"none":{{no.such}}}'
    made = website.hooks.create({"url": target.url, "custom_webhook_template": template})
    simulator.push()
    assert target.one().json == {"who": "bob", "n": 1, "none": None}
    simulator.website.hooks[made.id].custom_webhook_template = "{{commits.a}}"
    simulator.push()
    assert target.take() == []
    assert simulator.website.hooks[made.id].log.rows[-1].response_status == "internal error"


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_one_attempt_whatever_comes_back(simulator, hook, target, status):
    """9.2: never retry; a failure counts, and a row is logged."""
    target.status = status
    simulator.push()
    assert len(target.take()) == 1
    kept = simulator.website.hooks[hook.id]
    assert (kept.recent_failures, kept.log.rows[-1].response_status) == (1, str(status))


@pytest.mark.parametrize("status", [200, 204, 302])
def test_success_resets_the_counter(simulator, hook, target, status):
    """9.2: 2xx and 3xx are success (1.6), and a redirect is not followed."""
    kept = simulator.website.hooks[hook.id]
    kept.recent_failures = 3
    target.status, target.answer = status, b""
    target.answer_headers = {"Location": target.url + "/elsewhere"}
    simulator.push()
    assert kept.recent_failures == 0
    assert target.one().path == "/hook"


def test_a_large_body_arrives_whole(simulator, hook, target):
    """1.3: up to 25 MB; what is larger is an internal error that is not sent."""
    kept = simulator.website.hooks[hook.id]
    for mebibytes, sent in ((2, 1), (26, 0)):
        event = Event(toggle="push_events", data={"x": "y" * mebibytes * 2**20})
        row = simulator.run(simulator.forge.engine.send(kept, event))
        assert row.error == ("" if sent else "the payload is larger than 25 MB")
        assert [got.json for got in target.take()] == [event.data] * sent


def test_a_slow_receiver_times_out(simulator, website):
    """9.2: 10 s timeout (here 0.2), logged as an internal error. The target is its own, for it may come late."""
    assert simulator.world.instance.webhook_timeout == 10
    simulator.world.instance.webhook_timeout = 0.2
    with running_target() as slow:
        slow.delay = 60
        kept = simulator.website.hooks[website.hooks.create({"url": slow.url}).id]
        simulator.push()
    assert (kept.recent_failures, kept.log.rows[-1].response_status) == (1, "internal error")
    assert kept.log.rows[-1].execution_duration < slow.delay


def test_nobody_listening_is_an_internal_error(simulator, website, deaf_port):
    """9.2: network errors count like any failure."""
    made = website.hooks.create({"url": f"http://127.0.0.1:{deaf_port}/"})
    simulator.push()
    kept = simulator.website.hooks[made.id]
    assert (kept.recent_failures, kept.log.rows[-1].status) == (1, None)


def test_auto_disabling(simulator, hook, target):
    """9.2: counters per 1.7: the fourth failure switches off for a minute, the next for two; success forgets all."""
    world, kept = simulator.world, simulator.website.hooks[hook.id]
    world.instance.auto_disabling = True
    start = world.clock.now()
    world.clock.stop_at(start)
    target.status = 401
    for _ in range(4):
        simulator.push()
    assert (kept.recent_failures, kept.disabled_until) == (4, start + timedelta(minutes=1))
    assert hook.manager.get(hook.id).alert_status == "temporarily_disabled"
    target.take()
    simulator.push()
    assert (target.take(), kept.dropped["disabled"], len(kept.log.rows)) == ([], 1, 4)
    world.clock.advance(61)
    assert hook.manager.get(hook.id).alert_status == "executable"
    simulator.push()
    assert kept.disabled_until == world.clock.now() + timedelta(minutes=2)
    world.clock.advance(121)
    target.status = 200
    simulator.push()
    assert (kept.recent_failures, kept.disabled_until) == (0, None)


def test_the_whole_way_to_permanent(simulator, hook):
    """9.2: minutes 1, 2, 4 ... 1024, then a day each; the 40th failure is for good (1.7)."""
    instance, kept = simulator.world.instance, simulator.website.hooks[hook.id]
    instance.auto_disabling = True
    start = now = simulator.world.clock.now()
    waits = []
    while kept.alert_status(instance, now) != "disabled":
        kept.failed(instance, now)
        if kept.disabled_until:
            waits.append((kept.disabled_until - now) // timedelta(minutes=1))
            now = kept.disabled_until
    assert waits[:12] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]
    assert (kept.recent_failures, len(waits)) == (40, 37)
    # 26.4 days lie between the 4th and the 40th failure
    assert round((now - timedelta(days=1) - start) / timedelta(days=1), 1) == 26.4
    kept.failed(instance, now)
    assert kept.recent_failures == 40


def test_the_flag_is_off_by_default(simulator, hook, target):
    """9 state: without the flag a hook stays executable, as on Self-Managed."""
    target.status = 500
    for _ in range(6):
        simulator.push()
    assert len(target.take()) == 6
    assert hook.manager.get(hook.id).alert_status == "executable"


def test_before_17_11_the_fourth_4xx_is_final(simulator, hook, target):
    """1.7: the older rule, by version."""
    simulator.world.instance.auto_disabling, simulator.world.instance.version = True, "17.3.0"
    target.status = 404
    for _ in range(4):
        simulator.push()
    assert hook.manager.get(hook.id).alert_status == "disabled"


@pytest.mark.parametrize(
    ("strategy", "wanted", "passes"),
    [
        ("wildcard", "main", {"main"}),
        ("wildcard", "release/*", {"release/1.0"}),
        ("wildcard", "", {"main", "release/1.0", "fix"}),
        ("regex", "^(main|fix)$", {"main", "fix"}),
        ("all_branches", "main", {"main", "release/1.0", "fix"}),
    ],
)
def test_branch_filter(simulator, website, target, strategy, wanted, passes):
    """9.2: branch-filtered, for pushes only: a tag passes whatever the filter."""
    website.hooks.create({
        "url": target.url, "branch_filter_strategy": strategy, "push_events_branch_filter": wanted,
        "tag_push_events": True,
    })  # fmt: skip
    for branch in ("main", "release/1.0", "fix"):
        simulator.push(branch=branch)
    assert {got.json["ref"].removeprefix("refs/heads/") for got in target.take()} == passes
    simulator.run(
        simulator.forge.tag(simulator.website, simulator.world.user("bob"), "v1", at=simulator.world.clock.now())
    )
    simulator.settle()
    assert target.one().event == "Tag Push Hook"


@pytest.mark.parametrize(("branches", "fired"), [(3, 3), (4, 0)])
def test_a_push_of_more_than_three_refs_fires_nothing(simulator, hook, target, branches, fired):
    """9.2: more than 3 refs."""
    simulator.push()
    target.take()
    world, person = simulator.world, Person("Bob", "bob@acme.example")
    drafts = {
        f"b{number}": [Draft(message="x", author=person, at=world.clock.now(), files={f"{number}": "x"})]
        for number in range(branches)
    }
    simulator.run(simulator.forge.push_all(simulator.website, world.user("bob"), drafts))
    simulator.settle()
    assert len(target.take()) == fired
    assert simulator.website.repository.count("--all") == 1 + branches


def test_the_namespace_limit_is_shared_and_drops(simulator, hook, gl, target):
    """9.2: over the rate limit nothing is sent and nothing logged; the next minute it goes on (1.8)."""
    world = simulator.world
    world.instance.webhook_calls_per_minute = 2
    world.clock.stop_at(world.clock.now())
    other = gl.projects.get("acme/api", lazy=True).hooks.create({"url": target.url})
    simulator.push()
    simulator.push(project="acme/api")
    simulator.push()
    assert len(target.take()) == 2
    kept = simulator.website.hooks[hook.id]
    assert (kept.dropped["rate limit"], len(kept.log.rows)) == (1, 1)
    assert len(simulator.api.hooks[other.id].log.rows) == 1
    world.clock.advance(60)
    simulator.push()
    assert len(target.take()) == 1


def test_the_log_is_redacted(api, simulator, hook, target):
    """9.2: a log row is appended, secrets and e-mail addresses blacked out (3.5)."""
    target.answer, target.answer_headers = b"x" * 10_000, {"X-Answer": "y" * 2_000}
    simulator.website.hooks[hook.id].custom_headers = {"X-Mine": "hidden"}
    simulator.push()
    assert target.one().json["commits"][0]["author"]["email"] == "bob@acme.example"
    (row,) = api("GET", f"/projects/1/hooks/{hook.id}/events").json()
    assert (row["trigger"], row["response_status"], row["url"]) == ("push_hooks", "200", hook.url)
    assert row["request_data"]["commits"][0]["author"] == {"name": "Bob Brandt", "email": "[REDACTED]"}
    assert (row["request_headers"]["X-Gitlab-Token"], row["request_headers"]["X-Mine"]) == ("[REDACTED]",) * 2
    assert len(row["response_body"]) == 8192
    assert len(row["response_headers"]["X-Answer"]) == 1024
    assert "acme.example" not in json.dumps(row)
    assert isinstance(row["execution_duration"], float)


def test_the_log_is_kept_for_seven_days_and_filtered(api, simulator, hook, target, deaf_port):
    """9 state: log (7 days); newest first, at most 20 a page, filters of 3.5."""
    path = f"/projects/1/hooks/{hook.id}/events"
    for target.status in (200, 404, 500):
        simulator.push()
    simulator.website.hooks[hook.id].url = f"http://127.0.0.1:{deaf_port}/"
    simulator.push()
    statuses = ["internal error", "500", "404", "200"]
    assert [row["response_status"] for row in api("GET", path).json()] == statuses
    for wanted, found in (
        ("successful", ["200"]),
        ("client_failure", ["404"]),
        ("server_failure", ["internal error", "500"]),
        ("404,successful", ["404", "200"]),
    ):
        rows = api("GET", path, params={"status": wanted}).json()
        assert [row["response_status"] for row in rows] == found
    assert api("GET", path, params={"per_page": 100}).headers["x-per-page"] == "20"
    simulator.world.clock.advance(7 * 86_400)
    assert api("GET", path).json() == []


def test_a_skewed_signature_clock(simulator, website, target):
    """A switch for stale deliveries, still rightly signed."""
    website.hooks.create({"url": target.url, "signing_token": KEY})
    simulator.world.instance.signature_clock_skew = -3600
    simulator.push()
    got = target.one()
    assert int(got.headers["webhook-timestamp"]) < simulator.world.clock.now().timestamp() - 3000
    assert re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", got.headers["webhook-signature"])


def test_silent_mode_stops_all(api, simulator, hook, target):
    """1.5: nothing is sent, and a test says why."""
    simulator.world.instance.silent_mode = True
    simulator.push()
    reply = api("POST", f"/projects/1/hooks/{hook.id}/test/push_events")
    assert (reply.status_code, reply.json()) == (422, {"message": "Silent mode enabled"})
    assert target.take() == []
