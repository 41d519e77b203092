"""Signing in and out as people do: with the simulated GitLab's own page between."""

import contextlib
import sqlite3

import pytest
from playwright.sync_api import expect

from harness import year
from harness.processes import free_port
from harness.receiver import serving, settings
from harness.year import RANGE


@pytest.fixture
def guarded_site(simulator, redis_of_site, tmp_path):
    """One where nothing has been counted, and alice sees that."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    application = simulator.world.add_application("GitPulse", [f"{url}/signin/callback"])
    given = settings(
        redis_of_site, database_url=year.write(tmp_path / "empty.db", empty=True), oidc_issuer=simulator.url,
        oidc_client_id=application.uid, oidc_client_secret=application.secret, dashboard_url=url,
        dashboard_admins="alice",
    )  # fmt: skip
    with serving(given, port=port):
        yield url


def sign_in(visitor, simulator, name):
    visitor.page.get_by_role("link", name="Sign in with GitLab").click()
    visitor.page.get_by_role("button", name=name).click()
    visitor.page.wait_for_url(f"{visitor.url}/**")
    visitor.wrong = [it for it in visitor.wrong if simulator.url not in it]  # that page is another site's


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_somebody_signs_in_and_out(guarded_site, visit, simulator, theme):
    visitor = visit(guarded_site, theme=theme)
    page = visitor.open(f"/pipelines?{RANGE}", status=401)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    visitor.check()
    sign_in(visitor, simulator, "Alice Andersson")
    assert page.url == f"{guarded_site}/pipelines?{RANGE}"
    expect(page.locator(".who span")).to_have_text("alice")
    assert page.evaluate("document.cookie") == ""
    visitor.check()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in with GitLab")).to_be_visible()
    visitor.open("/pipelines", status=401)


def test_somebody_in_no_team_is_told_so_and_can_leave(guarded_site, visit, simulator):
    visitor = visit(guarded_site, width=390)
    visitor.open("/", status=401)
    sign_in(visitor, simulator, "Emeka Eze")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("You are in no team yet")
    visitor.fits()
    visitor.check()
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_whoever_is_taken_out_of_their_team_is_told_so_where_they_are(guarded_site, visit, simulator, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "empty.db", isolation_level=None)) as database:
        database.execute("INSERT INTO team VALUES ('web', 'test', 'UTC')")
        database.execute("INSERT INTO member VALUES ('web', 'Emeka')")
        database.execute("INSERT INTO alias VALUES ('username', 'emeka', 'Emeka')")
        visitor = visit(guarded_site)
        visitor.open("/hours", status=401)
        sign_in(visitor, simulator, "Emeka Eze")
        expect(visitor.page.locator("#live-text")).to_have_text("Live")
        database.execute("DELETE FROM member")
    visitor.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("You are in no team yet")
