"""Signing in with GitLab: the whole way, who sees what then, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import ssl
from urllib.parse import urlsplit

import httpx2
import pytest
import sqlalchemy as sa

from gitpulse_service.dashboard.config import SignIn
from gitpulse_service.dashboard.door import Closed, _signed_in
from gitpulse_service.metrics_api import Hub, Parts
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store import people, sessions, tokens
from gitpulse_sim.faults import Fault
from gitpulse_sim.people import Role
from harness.pki import Authority
from harness.processes import free_port
from harness.query_api import silence
from harness.receiver import serving, settings
from harness.visitors import TEAMS, URL, Browser

COOKIE = "__Host-gitpulse"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_the_whole_way(browser):
    asked = await browser.to_gitlab("/who/My%20Team?from=2026-01-01&b=c%26d")
    said = dict(asked.params)
    assert (said["scope"], said["response_type"]) == ("openid email", "code")
    assert (said["redirect_uri"], said["code_challenge_method"]) == (f"{URL}/signin/callback", "S256")
    assert len({said[it] for it in ("state", "nonce", "code_challenge")}) == 3
    back = await browser.get(await browser.chosen(asked, "bob"))
    assert (back.status_code, back.headers["cache-control"]) == (303, "no-store")
    assert back.headers["location"] == f"{URL}/who/My%20Team?from=2026-01-01&b=c%26d"
    kept, gone = back.headers.get_list("set-cookie")
    assert kept.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "Max-Age=86400", "Path=/", "SameSite=lax", "Secure"} == {*kept.split("; ")[1:]}
    assert gone.startswith(f'{COOKIE}-signin=""; HttpOnly; Max-Age=0')
    assert await browser.who() == {"name": "bob", "teams": ["ops", "web"]}

    secret = browser.cookies[COOKIE]
    out = await browser.post("/signout", headers={"sec-fetch-site": "same-origin"})
    assert (out.status_code, out.headers["location"]) == (303, f"{URL}/")
    assert COOKIE not in browser.cookies
    browser.cookies.set(COOKIE, secret)  # stolen before
    assert (await browser.get("/who/")).status_code == 401


@SQLITE
@pytest.mark.parametrize(("user", "teams"), [("alice", ["web"]), ("bob", ["ops", "web"]), ("chiara", ["ops"])])
async def test_somebody_is_known_by_number_address_or_name(browser, user, teams):
    await browser.sign_in(user)
    assert (await browser.who())["teams"] == teams


@SQLITE
async def test_the_number_goes_before_the_address_and_that_before_the_name(place):
    for handles, team in (
        ([("account", "1"), ("email", "bob@acme.example"), ("username", "chiara")], {"web"}),
        ([("account", "9"), ("email", "bob@acme.example"), ("username", "chiara")], {"ops", "web"}),
        ([("account", "9"), ("email", "x@acme.example"), ("username", "chiara")], {"ops"}),
        ([("account", "9")], set()),
        ([("username", "chiara"), ("account", "1")], {"ops"}),  # as it is asked, not as it is found
    ):
        assert await people.teams_of(place.engine, handles) == team


@SQLITE
async def test_an_address_that_gitlab_has_not_verified_is_nobodys(browser, simulator):
    bob = simulator.world.user("bob")
    simulator.world.users[bob.id] = dataclasses.replace(bob, email_verified=False)
    await browser.sign_in("bob")
    assert (await browser.get("/who/")).status_code == 403


@SQLITE
@pytest.mark.parametrize("user", ["dmitri", "emeka"])
async def test_whoever_is_in_no_team_sees_why_and_can_leave(browser, user, simulator):
    await browser.sign_in(user)
    page = await browser.get("/who/")
    assert page.status_code == 403
    assert page.headers["cache-control"] == "no-store"
    number = simulator.world.user(user).id
    for words in (f"signed in as {user}", f"number {number}", 'method="post" action="/signout"', "docs/people.md"):
        assert words in page.text


@SQLITE
async def test_who_sees_all(browser, place, simulator):
    await browser.sign_in("fatima")
    assert await browser.who() == {"name": "fatima", "teams": "all"}

    world = simulator.world
    leads = world.add_group("leads", parent=world.groups[1])
    leads.members[world.user("emeka").id] = Role.DEVELOPER
    emeka = await place.browser()
    await emeka.sign_in("emeka")
    assert (await emeka.who())["teams"] == "all"
    later = await place.browser(dashboard_admins="group:acme/other")
    later.cookies.update(emeka.cookies)
    assert (await later.get("/who/")).status_code == 403  # what is set now decides, not what was


@SQLITE
async def test_whoever_leaves_a_team_sees_it_no_longer_at_once(browser, place):
    await browser.sign_in("bob")
    secret = browser.cookies[COOKIE]
    sign_in = SignIn.of(ServiceSettings.model_validate(place.settings))
    viewer = await _signed_in(Parts(place.engine, True, Hub(silence)), sign_in, secret)
    assert await viewer.caller.still()
    await people.replace(place.engine, "file", TEAMS[:1])
    assert (await browser.who())["teams"] == ["web"]
    assert not await viewer.caller.still()
    await people.replace(place.engine, "file", [])
    assert (await browser.get("/who/")).status_code == 403


@SQLITE
async def test_a_stream_ends_with_the_session(browser, place):
    await browser.sign_in("fatima")
    sign_in = SignIn.of(ServiceSettings.model_validate(place.settings))
    parts = Parts(place.engine, True, Hub(silence))
    viewer = await _signed_in(parts, sign_in, browser.cookies[COOKIE])
    assert await viewer.caller.still()
    await sessions.end(place.engine, browser.cookies[COOKIE])
    assert not await viewer.caller.still()
    with pytest.raises(Closed):
        await _signed_in(parts, sign_in, browser.cookies[COOKIE])


@SQLITE
async def test_signing_in_makes_a_new_session_and_ends_the_old_one(browser, place):
    await browser.sign_in("alice")
    old = browser.cookies[COOKIE]
    answer = await browser.get("/signin")
    await browser.get(await browser.chosen(answer.next_request.url, "bob"))
    assert browser.cookies[COOKIE] != old
    assert (await browser.who())["name"] == "bob"
    browser.cookies.set(COOKIE, old, domain="gitpulse.example.com", path="/")
    assert (await browser.get("/who/")).status_code == 401

    planted = await place.browser()  # somebody else chose this one, and waits for it to open something
    planted.cookies.set(COOKIE, "planted", domain="gitpulse.example.com", path="/")
    await planted.sign_in("bob")
    assert planted.cookies[COOKIE] != "planted"


@SQLITE
async def test_a_session_of_another_gitlab_is_none_here(browser, place):
    await browser.sign_in("bob")
    other = await place.browser(oidc_issuer="https://gitlab.example.com")
    other.cookies.update(browser.cookies)
    assert (await other.get("/who/")).status_code == 401


@SQLITE
async def test_a_program_shows_a_token(browser, place):
    secret = await tokens.create(place.engine, "csv", ["ops"], None)
    shown = {"authorization": f"Bearer {secret}"}
    answer = await browser.get("/who/", headers=shown)
    assert answer.json() == {"name": None, "teams": ["ops"]}
    answer = await browser.get("/who/", headers={"authorization": "Bearer gpt_no"})
    assert (answer.status_code, answer.headers.get("location")) == (401, None)


@SQLITE
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": URL}, 403),
        ({"origin": URL}, 303),
        ({"sec-fetch-site": "same-origin", "origin": URL}, 303),
    ],
)
async def test_only_our_own_pages_sign_somebody_out(browser, headers, status):
    await browser.sign_in("bob")
    answer = await browser.post("/signout", headers=headers)
    assert answer.status_code == status
    assert (await browser.get("/who/")).status_code == (401 if status == 303 else 200)
    assert (await browser.get("/signout", headers=headers)).status_code == 405


@SQLITE
async def test_what_is_not_yet_signed_in_writes_nothing(browser, place):
    await browser.to_gitlab()
    async with place.engine.connect() as connection:
        assert (await connection.execute(sa.select(sessions.session))).all() == []


@SQLITE
async def test_sessions_go_on_while_gitlab_is_away_and_nobody_can_begin_one(browser, place, simulator):
    await browser.sign_in("bob")
    simulator.world.faults.append(Fault(path="/.well-known/*", status=502, count=-1))
    assert (await browser.who())["name"] == "bob"
    stranger = await place.browser()
    answer = await stranger.get("/signin")
    assert answer.status_code == 503
    assert "GitLab does not answer" in answer.text


@SQLITE
async def test_no_secret_is_in_a_log(browser, place, caplog):
    caplog.set_level(logging.DEBUG)
    asked = await browser.to_gitlab()
    begun = browser.cookies[f"{COOKIE}-signin"].partition(".")[0]
    with caplog.filtering(lambda record: not record.name.startswith("aiosqlite")):  # what is asked of the database
        await browser.get(await browser.chosen(asked, "bob"))
        ours = [
            it for it in caplog.records if it.name.startswith(("gitpulse_service", "authlib", "httpx2", "httpcore2"))
        ]
        text = "\n".join(it.getMessage() for it in ours if "/signin/callback" not in it.getMessage())
    assert "oauth/token" in text
    for secret in (browser.cookies[COOKIE], begun, place.settings["oidc_client_secret"]):
        assert secret not in text


@contextlib.asynccontextmanager
async def with_tls(simulator, keys):
    """The simulator behind TLS, as which it calls itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)
    inside = urlsplit(simulator.url).port

    async def relay(reader, writer):
        near, far = await asyncio.open_connection("127.0.0.1", inside)
        await asyncio.gather(pump(reader, far), pump(near, writer))

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while some := await reader.read(65536):
                writer.write(some)
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
        simulator.world.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        yield simulator.world.url


@SQLITE
async def test_a_gitlab_with_a_certificate_of_ones_own_authority(place, simulator, tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    async with with_tls(simulator, authority.server("gitlab")) as url:
        stranger = await place.browser(oidc_issuer=url)
        assert (await stranger.get("/signin")).status_code == 503
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        browser = await place.browser(oidc_issuer=url)
        assert (await browser.get("/signin")).headers["location"].startswith(f"{url}/oauth/authorize?")


@SQLITE
async def test_a_receiver_of_ones_own_machine_too(engine, database_url, redis_url, simulator):
    """Without TLS, by a real server; what opens its pages opens nothing of the API."""
    await people.replace(engine, "file", TEAMS)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    application = simulator.world.add_application("GitPulse", [f"{url}/signin/callback"])
    given = settings(
        redis_url, database_url=database_url, oidc_issuer=simulator.url, oidc_client_id=application.uid,
        oidc_client_secret=application.secret, dashboard_url=url,
    )  # fmt: skip
    with serving(given, port=port):
        async with Browser(base_url=url) as browser, httpx2.AsyncClient() as browser.gitlab:
            kept, _ = (await browser.sign_in("bob", "/")).headers.get_list("set-cookie")
            assert kept.startswith("gitpulse=")
            assert "Secure" not in kept
            assert (await browser.get("/")).status_code == 200
            assert (await browser.get("/api/v1/projects")).status_code == 401
