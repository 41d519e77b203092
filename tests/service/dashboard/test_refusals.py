"""Who is not let in: whoever forges, replays, redirects, or has GitLab's answers changed."""

from __future__ import annotations

import httpx2
import pytest

from gitpulse_service.dashboard.signin import _made_of, local
from gitpulse_sim.faults import Fault
from gitpulse_sim.oauth import Provider
from harness.visitors import URL

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
COOKIE = "__Host-gitpulse"


async def refused(browser, url, status, *words):
    answer = await browser.get(url)
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.text
    assert COOKIE not in browser.cookies
    return answer


async def test_a_code_that_another_browser_was_given(browser, place):
    """Login CSRF: the victim would work as the attacker."""
    attacker = await place.browser()
    theirs = await attacker.chosen(await attacker.to_gitlab(), "emeka")
    await refused(browser, theirs, 400, "not begun in this browser")
    await browser.to_gitlab()
    await refused(browser, theirs, 400, "not begun in this browser")
    state = httpx2.URL(await browser.chosen(await browser.to_gitlab(), "bob")).params["state"]
    await refused(browser, httpx2.URL(theirs).copy_set_param("state", state), 403, "did not take the code")


@pytest.mark.parametrize("state", ["", "x", "ä", "x" * 5000])
async def test_a_state_that_is_not_ours(browser, state):
    back = httpx2.URL(await browser.chosen(await browser.to_gitlab(), "bob"))
    await refused(browser, back.copy_set_param("state", state), 400, "not begun in this browser")
    await refused(browser, back.copy_remove_param("state"), 400, "not begun in this browser")


async def test_a_state_made_of_nothing(browser, place):
    """Anybody can make the one that goes with no cookie at all."""
    attacker = await place.browser()
    asked = (await attacker.to_gitlab()).copy_set_param("state", _made_of("", "state"))
    await refused(browser, await attacker.chosen(asked, "emeka"), 400, "not begun in this browser")


async def test_a_code_is_good_once(browser):
    url = await browser.chosen(await browser.to_gitlab(), "bob")
    begun = dict(browser.cookies)
    assert (await browser.get(url)).status_code == 303
    assert f"{COOKIE}-signin" not in browser.cookies
    del browser.cookies[COOKIE]
    await refused(browser, url, 400)
    for name, value in begun.items():
        browser.cookies.set(name, value)
    await refused(browser, url, 403, "used before, or is too old")


async def test_a_code_that_is_too_old(browser, simulator):
    url = await browser.chosen(await browser.to_gitlab(), "bob")
    simulator.world.clock.advance(601)
    await refused(browser, url, 403, "too old")


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_an_id_token_of_another_time(browser, simulator, seconds):
    simulator.world.clock.advance(seconds)
    await refused(browser, await browser.chosen(await browser.to_gitlab(), "bob"), 502, "is not believed")


async def test_a_gitlab_that_tells_of_two_people(browser, monkeypatch):
    true = Provider.user_info
    monkeypatch.setattr(Provider, "user_info", lambda *it: {**true(*it), "sub": "1"})
    await refused(browser, await browser.chosen(await browser.to_gitlab(), "bob"), 502, "tells of another user")


async def test_a_gitlab_that_answers_something_else(browser, monkeypatch):
    monkeypatch.setattr(Provider, "user_info", lambda *_: ["bob"])
    await refused(browser, await browser.chosen(await browser.to_gitlab(), "bob"), 502, "not as OpenID Connect has it")


async def test_whoever_says_no(browser):
    await refused(browser, await browser.chosen(await browser.to_gitlab(), None), 403, "You did not let GitPulse know")


@pytest.mark.parametrize("error", ["<script>alert(1)</script>", "x" * 100, "a b"])
async def test_an_error_is_not_shown_as_it_comes(browser, error):
    state = (await browser.to_gitlab()).params["state"]
    url = httpx2.URL(f"{URL}/signin/callback").copy_merge_params({"state": state, "error": error})
    answer = await refused(browser, url, 403, "none of OAuth&#39;s")
    assert error not in answer.text


async def test_a_wrong_secret_says_which_setting_it_is(place):
    browser = await place.browser(oidc_client_secret="gloas-wrong")
    url = await browser.chosen(await browser.to_gitlab(), "bob")
    await refused(browser, url, 403, "GITPULSE_OIDC_CLIENT_SECRET")


async def test_a_gitlab_that_calls_itself_something_else(place, simulator):
    browser = await place.browser(oidc_issuer=simulator.url.replace("127.0.0.1", "localhost"))
    await refused(browser, "/signin", 502, "calls itself", "GITPULSE_OIDC_ISSUER")


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (Fault(path="/oauth/token", status=503), 503, "does not answer"),
        (Fault(path="/oauth/discovery/keys", status=500), 503, "does not answer"),
        (Fault(path="/oauth/userinfo", status=429), 503, "does not answer"),
    ],
    ids=lambda it: it.path if isinstance(it, Fault) else "",
)
async def test_gitlab_fails_on_the_way_back(browser, simulator, fault, status, words):
    url = await browser.chosen(await browser.to_gitlab(), "bob")
    simulator.world.faults.append(fault)
    await refused(browser, url, status, words)


async def test_an_address_where_nobody_listens(place, caplog):
    browser = await place.browser(oidc_issuer="http://127.0.0.1:1")
    await refused(browser, "/signin", 503, "GitLab does not answer")
    assert "GitLab does not answer a sign-in: ConnectError: " in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "@evil.example",
        ".evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/a b",
        "/ä",
        "",
        "/" + "a" * 1001,
    ],
)
async def test_nobody_is_sent_to_another_site(browser, path):
    assert local(path) == "/"
    begun = await browser.get("/signin", params={"next": path})
    back = await browser.get(await browser.chosen(httpx2.URL(begun.headers["location"]), "bob"))
    assert back.headers["location"] == f"{URL}/"


@pytest.mark.parametrize("path", ["/", "/team/web", "/a?b=c&d=%2F%2Fe", "/a//b", "/@x"])
def test_somebody_is_sent_to_what_they_asked_for(path, database_url):
    assert local(path) == path


async def test_a_path_that_was_changed_in_the_browser_leads_nowhere_else(browser):
    url = await browser.chosen(await browser.to_gitlab(), "bob")
    secret = browser.cookies[f"{COOKIE}-signin"].partition(".")[0]
    del browser.cookies[f"{COOKIE}-signin"]
    browser.cookies.set(f"{COOKIE}-signin", f"{secret}.%2F%2Fevil.example")
    assert (await browser.get(url)).headers["location"] == f"{URL}/"
