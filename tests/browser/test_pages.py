"""Each page in a real browser, in both themes and on a phone: nothing hinders anybody, nothing comes from elsewhere."""

import io
import os
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from harness.year import RANGE

IMAGES = Path(__file__).parents[2] / "docs/images"
PAGES = {
    "overview": f"/?{RANGE}",
    "merge-requests": f"/merge-requests?{RANGE}",
    "pipelines": f"/pipelines?{RANGE}",
    "hours": f"/hours?{RANGE}",
    "teams": f"/teams?{RANGE}",
    "people": f"/people?{RANGE}&q=a",
    "projects": f"/projects?{RANGE}&bots=false&tz=Europe/Berlin",
    "team": f"/teams/web?{RANGE}&bucket=week",
    "person": f"/people/Ann%20Lee?{RANGE}",
    "project": f"/projects/acme/infra/runners?{RANGE}",
    "hooks": "/hooks",
    "definitions": "/definitions",
    "behind": f"/behind/time_to_merge?{RANGE}&largest=true&team=web",
    "quiet": "/merge-requests?from=2020-01-01&to=2020-02-01",
}
KEPT = {"overview", "merge-requests", "pipelines", "hours", "hooks"}
"""Whose pictures the documentation has."""
MOST_BYTES = 120_000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody(site, visit, name, theme):
    visitor = visit(site, theme=theme)
    visitor.context.clock.set_fixed_time(datetime.fromisoformat("2026-03-01T22:00:00Z"))
    page = visitor.open(PAGES[name])
    assert page.title().endswith("GitPulse")
    assert page.locator("h1").count() == 1
    visitor.fits()
    visitor.check()
    if os.environ.get("SCREENSHOTS") and name in KEPT:
        expect(page.locator("#live-text")).to_have_text("Live")
        if theme == "light" or name == "overview":
            keep(page, f"{name}{'-dark' if theme == 'dark' else ''}")
    page.set_viewport_size({"width": 360, "height": 740})
    visitor.fits()
    visitor.check()
    if os.environ.get("SCREENSHOTS") and (name, theme) == ("overview", "dark"):
        page.reload()
        expect(page.locator("#live-text")).to_have_text("Live")
        keep(page, "phone")


def keep(page, name):
    """A picture for the documentation: few colours are a third of the bytes."""
    if name != "phone":  # all of it
        page.set_viewport_size({"width": 1380, "height": page.evaluate("document.documentElement.scrollHeight")})
    page.evaluate("scrollTo(0, 0)")
    taken = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    IMAGES.mkdir(exist_ok=True)
    few = taken.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)
    assert (IMAGES / f"{name}.png").stat().st_size < MOST_BYTES


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nothing/here", 404, "There is nothing here"),
        ("/teams/nobodys", 404, "There is no team nobodys"),
        ("/people/Nobody", 404, "Nobody named Nobody"),
        ("/behind/beauty", 404, "There is no metric beauty"),
        ("/?colour=red", 400, "There is no parameter colour"),
        ("/?from=yesterday", 400, "ISO 8601"),
        ("/?from=2026-02-02&to=2026-01-01", 422, "From must not be later than to"),
        (f"/hours?{RANGE}&csv=everything", 404, "There is no card everything"),
    ],
)
def test_an_error_says_what_is_wrong(site, visit, theme, path, status, says):
    visitor = visit(site, theme=theme)
    page = visitor.open(path, status)
    assert says in page.locator("main").inner_text()
    visitor.check()
    page.get_by_role("link", name="To the overview").click()
    page.wait_for_url(f"{site}/")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_database_that_is_away_is_said_to_be(broken_site, visit, theme):
    visitor = visit(broken_site, theme=theme)
    page = visitor.open("/?range=7d", 503)
    assert "cannot be reached right now" in page.locator("h1").inner_text()
    assert page.get_by_role("link", name="Try again").get_attribute("href") == "/?range=7d"
    visitor.check()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_who_comes_through_a_proxy_is_not_shown_anything(site, visit, theme):
    visitor = visit(site, theme=theme, extra_http_headers={"x-forwarded-for": "192.0.2.7"})
    visitor.open("/", 403)
    assert "Nobody can sign in yet" in visitor.page.locator("h1").inner_text()
    visitor.check()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_without_any_event_it_says_what_to_do(empty_site, visit, theme):
    visitor = visit(empty_site, theme=theme)
    page = visitor.open("/")
    assert f"{empty_site}/api/v1/webhooks/gitlab" in page.locator("main").inner_text()
    visitor.check()
    for path in ("/merge-requests", "/hooks", "/teams"):
        visitor.open(path)
        visitor.check()


def test_without_scripts_charts_are_tables(site, visit):
    visitor = visit(site, java_script_enabled=False)
    page = visitor.open(PAGES["overview"])
    assert page.locator("#commits table tbody tr").first.is_visible()
    assert not page.locator("#commits canvas").is_visible()
