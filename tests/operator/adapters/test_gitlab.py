"""GitLab as the simulator plays it: what it answers, what it refuses, and what stands in for an answer."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from gitpulse_operator.adapters.gitlab import GitLabs
from gitpulse_operator.domain.hooks import Parent
from gitpulse_operator.domain.revival import Attempt
from gitpulse_operator.domain.spec import ConnectionSpec, SecretRef
from gitpulse_operator.errors import (
    CredentialsInvalid,
    Forbidden,
    GitLabUnavailable,
    InsufficientScope,
    NotYourTurn,
    OperatorError,
    RateLimited,
    Refused,
    TargetNotFound,
)
from gitpulse_operator.metrics import GITLAB_REQUESTS
from gitpulse_sim.faults import Fault
from harness.pki import Authority
from harness.processes import free_port
from harness.target import Target, running_target

SECRET = "a" * 64


@pytest.fixture
def gitlabs() -> Iterator[GitLabs]:
    made = GitLabs(timeout=1.0, threads=4)
    yield made
    made.close()


def spec(url: str, *, ca_bundle: str | None = None, rate: int = 100) -> ConnectionSpec:
    return ConnectionSpec(url, SecretRef("gitlab-token", "token"), ca_bundle, rate)


@pytest.fixture
def gitlab(gitlabs, simulator):
    return gitlabs.connect(spec(simulator.url), simulator.token)


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as running:
        yield running


@pytest.fixture
def website(simulator) -> Parent:
    return Parent("Project", simulator.website.id, "acme/website")


async def test_a_hook_from_end_to_end(gitlab, simulator, website):
    made = await gitlab.create_hook(website, {"url": "https://x.example/a", "token": SECRET, "push_events": False})
    assert made.present("token") is True
    assert made.attributes["push_events"] is False
    changed = await gitlab.update_hook(website, made.id, {"issues_events": True})
    assert [hook.attributes["issues_events"] for hook in await gitlab.hooks(website)] == [True]
    assert simulator.website.hooks[changed.id].token == SECRET
    assert SECRET not in repr(changed)
    await gitlab.delete_hook(website, made.id)
    await gitlab.delete_hook(website, made.id)  # gone already: fine
    assert await gitlab.hooks(website) == []


async def test_every_page_is_read(gitlab, simulator, website):
    simulator.world.instance.project_hooks_limit = 1000
    for number in range(230):
        await gitlab.create_hook(website, {"url": f"https://x.example/{number}"})
    assert len({hook.id for hook in await gitlab.hooks(website)}) == 230


async def test_names_become_ids(gitlab, simulator):
    project = await gitlab.resolve("Project", "acme/website")
    assert project == Parent("Project", simulator.website.id, "acme/website")
    assert await gitlab.resolve("Project", str(project.id)) == project
    group = await gitlab.resolve("Group", "acme")
    assert (group.kind, group.path, group.key) == ("Group", "acme", f"group/{group.id}")
    with pytest.raises(TargetNotFound, match='no project "acme/nothing"'):
        await gitlab.resolve("Project", "acme/nothing")


async def test_version_and_token(gitlab, gitlabs, simulator):
    assert await gitlab.version() == "19.1.0"
    simulator.world.instance.version = "19.2.0"
    assert await gitlab.version() == "19.1.0", "asked once"
    assert await gitlab.version(fresh=True) == "19.2.0"
    token = await gitlab.token()
    assert (token.scopes, token.expires_at) == (("api",), None)


FAULTS = [
    (Fault(status=401), CredentialsInvalid, "does not accept the token"),
    (Fault(status=403), Forbidden, "Maintainer"),
    (Fault(status=404), TargetNotFound, 'no project "acme/website", or the token cannot see it'),
    (Fault(status=422), Refused, "refuses"),
    (Fault(status=500), GitLabUnavailable, "500"),
    (Fault(status=502), GitLabUnavailable, "502"),
    (Fault(status=429), RateLimited, "429"),
    (Fault(delay=3), GitLabUnavailable, "no answer within 1 s"),
]


@pytest.mark.parametrize(("fault", "kind", "says"), FAULTS)
async def test_what_goes_wrong_is_one_of_our_errors_at_once(gitlab, simulator, website, fault, kind, says):
    simulator.world.faults.append(fault)
    began = time.monotonic()
    with pytest.raises(kind, match=says) as caught:
        await gitlab.hooks(website)
    assert type(caught.value) is kind
    assert time.monotonic() - began < 2.5, "nothing is retried or slept over here"
    assert simulator.token not in str(caught.value)


@pytest.mark.parametrize(
    ("scopes", "revoked", "kind"), [(("read_api",), False, InsufficientScope), (("api",), True, CredentialsInvalid)]
)
async def test_what_is_wrong_with_a_token(gitlabs, simulator, website, scopes, revoked, kind):
    token = simulator.world.add_token(simulator.world.user("alice"), "another", scopes=scopes)
    token.revoked = revoked
    with pytest.raises(kind):
        await gitlabs.connect(spec(simulator.url), "another").create_hook(website, {"url": "https://x.example"})


async def test_a_refused_url_is_told_in_gitlabs_words(gitlab, simulator, website):
    simulator.world.instance.outbound_filter = True
    with pytest.raises(Refused, match="Invalid url given"):
        await gitlab.create_hook(website, {"url": "http://127.0.0.1/hook"})


async def test_a_429_stops_the_whole_connection(gitlab, simulator, website):
    simulator.world.faults.append(Fault(status=429, retry_after=30))
    with pytest.raises(RateLimited) as first:
        await gitlab.hooks(website)
    assert first.value.retry_after == 30
    before = GITLAB_REQUESTS.labels("GET", "429")._value.get()
    with pytest.raises(RateLimited) as second:
        await gitlab.hooks(website)
    assert 25 < second.value.retry_after <= 30
    assert GITLAB_REQUESTS.labels("GET", "429")._value.get() == before, "not even asked"


async def test_a_test_delivery_and_its_limit_of_its_own(gitlab, simulator, website, target):
    hook = await gitlab.create_hook(website, {"url": target.url})
    assert (await gitlab.test_hook(website, hook.id, "push_events")).result == "delivered"
    assert target.one().event == "Push Hook"
    impossible = await gitlab.test_hook(website, hook.id, "merge_requests_events")
    assert (impossible.result, "merge requests" in impossible.said) == ("impossible", True)
    target.status = 401
    for _ in range(3):
        assert (await gitlab.test_hook(website, hook.id, "push_events")).result == "failed"
    with pytest.raises(RateLimited):
        await gitlab.test_hook(website, hook.id, "push_events")
    assert await gitlab.hooks(website), "other requests go on"


async def test_the_budget_is_kept(gitlabs, simulator, website):
    slow = gitlabs.connect(spec(simulator.url, rate=20), simulator.token)
    began = time.monotonic()
    await asyncio.gather(*(slow.hooks(website) for _ in range(30)))
    took = time.monotonic() - began
    assert 0.45 < took < 3, "20 at once, then 20 a second"


async def test_each_page_counts(gitlabs, simulator, website):
    simulator.world.instance.project_hooks_limit = 1000
    fast, slow = (gitlabs.connect(spec(simulator.url, rate=rate), simulator.token) for rate in (1000, 4))
    for number in range(450):
        await fast.create_hook(website, {"url": f"https://x.example/{number}"})
    await asyncio.sleep(1.1)
    began = time.monotonic()
    for _ in range(2):
        assert len(await slow.hooks(website)) == 450
    await slow.version()
    assert time.monotonic() - began > 1.2, "eleven requests, of which four at once"


async def test_a_project_of_a_group_is_no_group(gitlab):
    with pytest.raises(TargetNotFound) as caught:
        await gitlab.resolve("Project", "some-group/nothing")
    assert "Premium" not in str(caught.value)


async def test_a_test_delivery_goes_before_all_else(gitlabs, simulator, website, target):
    slow = gitlabs.connect(spec(simulator.url, rate=20), simulator.token)
    hook = await slow.create_hook(website, {"url": target.url})
    went: list[str] = []

    async def noting(name: str, request: Coroutine[object, object, object]) -> None:
        await request
        went.append(name)

    others = [noting("other", slow.hooks(website)) for _ in range(30)]
    await asyncio.gather(*others, noting("test", slow.test_hook(website, hook.id, "push_events")))
    assert went.index("test") < 27, "of those who had to wait, one of the first"


async def test_threads_are_few_however_many_requests_wait(gitlab, simulator, website):
    before = {thread.ident for thread in threading.enumerate()}
    simulator.world.faults.append(Fault(delay=0.2, count=12))
    began = time.monotonic()
    requests = asyncio.gather(*(gitlab.hooks(website) for _ in range(12)))
    await asyncio.sleep(0.1)
    ours = [t for t in threading.enumerate() if t.ident not in before and t.name.startswith("gitlab")]
    await requests
    assert len(ours) == 4
    assert time.monotonic() - began > 0.6, "four at a time"


async def test_nobody_there(gitlabs, website):
    with pytest.raises(GitLabUnavailable, match="no connection"):
        await gitlabs.connect(spec(f"http://127.0.0.1:{free_port()}"), "t").hooks(website)


class Strange(http.server.BaseHTTPRequestHandler):
    """Answers everything, and is no GitLab."""

    def do_GET(self) -> None:
        status = 302 if "moved" in self.path else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "https://elsewhere.example.com/")
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"version": "19.1.0"}' if "version" in self.path else b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strange)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_what_is_no_gitlab_is_called_so(gitlabs, website):
    with serving() as port, pytest.raises(GitLabUnavailable, match="does not answer like a GitLab"):
        await gitlabs.connect(spec(f"http://127.0.0.1:{port}"), "t").hooks(website)


async def test_a_certificate_is_checked_against_the_bundle(gitlabs, tmp_path: Path):
    authority = Authority(tmp_path)
    pair = authority.server("gitlab")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    with serving(context) as port:
        url = f"https://127.0.0.1:{port}"
        trusting = gitlabs.connect(spec(url, ca_bundle=authority.certificate.read_text()), "t")
        assert await trusting.version() == "19.1.0"
        with pytest.raises(GitLabUnavailable, match="`caBundle`"):
            await gitlabs.connect(spec(url), "t").version()


async def test_errors_have_reasons_of_their_own():
    kinds = [OperatorError, *OperatorError.__subclasses__()]
    assert len({kind.reason for kind in kinds}) >= len(kinds) - 1


async def test_the_log_of_a_hook(gitlab, simulator, website):
    with running_target() as target:
        made = await gitlab.create_hook(website, {"url": target.url})
        for status in (200, 500, 404):
            target.status = status
            await asyncio.to_thread(simulator.push)
    await gitlab.update_hook(website, made.id, {"url": f"http://127.0.0.1:{free_port()}"})
    await asyncio.to_thread(simulator.push)
    log = await gitlab.deliveries(website, made.id)
    assert [(row.status, row.failed) for row in log.rows] == [(None, True), (404, True), (500, True), (200, False)]
    failed = await gitlab.deliveries(website, made.id, status="server_failure")
    assert [row.status for row in failed.rows] == [None, 500]
    assert len((await gitlab.deliveries(website, made.id, limit=2)).rows) == 2
    assert not (await gitlab.deliveries(website, made.id + 1)).readable


async def test_a_test_of_a_hook(gitlab, simulator, website):
    with running_target() as target:
        made = await gitlab.create_hook(website, {"url": target.url})
        assert await gitlab.test_hook(website, made.id, "push_events") == Attempt("delivered")
        target.status = 503
        assert await gitlab.test_hook(website, made.id, "push_events") == Attempt("failed", "ok")
    for trigger in ("releases_events", "deployment_events"):
        assert (await gitlab.test_hook(website, made.id, trigger)).result == "impossible"
    simulator.world.faults.append(Fault(path="*/test/*", status=404))  # as before 16.11
    assert (await gitlab.test_hook(website, made.id, "push_events")).result == "impossible"
    with pytest.raises(NotYourTurn):
        await gitlab.test_hook(website, made.id, "push_events")


async def test_what_failed_is_sent_again(gitlab, simulator, website):
    with running_target() as target:
        made = await gitlab.create_hook(website, {"url": target.url})
        target.status = 503
        await asyncio.to_thread(simulator.push)
        (row,) = (await gitlab.deliveries(website, made.id)).rows
        assert (row.url, row.whole) == (target.url, True)
        assert row.at is not None
        assert await gitlab.resend(website, made.id, row.id) == Attempt("failed", "answered with 503")
        target.status = 200
        assert await gitlab.resend(website, made.id, row.id) == Attempt("delivered")
        assert len({request.headers["Idempotency-Key"] for request in target.take()}) == 1
    assert (await gitlab.resend(website, made.id, 999)).result == "impossible"


async def test_a_limit_of_tests_alone_stops_no_one_else(gitlab, simulator, website):
    made = await gitlab.create_hook(website, {"url": "https://x.example/a"})
    simulator.world.instance.manual_calls_per_minute = 0
    simulator.world.instance.manual_limit_retry_after = 7
    with pytest.raises(NotYourTurn) as caught:
        await gitlab.test_hook(website, made.id, "push_events")
    assert caught.value.retry_after == 7
    assert len(await gitlab.hooks(website)) == 1
    simulator.world.faults.append(Fault(path="*/test/*", status=429, retry_after=30))  # the throttle of all
    with pytest.raises(RateLimited):
        await gitlab.test_hook(Parent("Project", simulator.api.id, "acme/api"), made.id, "push_events")
    with pytest.raises(RateLimited):
        await gitlab.hooks(website)
