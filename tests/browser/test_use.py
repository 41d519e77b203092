"""Using it: by keyboard alone, in the theme that was chosen, and while numbers change."""

import time
from datetime import UTC, datetime

import httpx2
import pytest
from playwright.sync_api import expect

from gitpulse_service.contract import WEBHOOK_PATH
from harness.processes import SCRIPTS, answers, free_port, running
from harness.receiver import SECRET, serving, settings
from harness.samples import INSTANCE, body
from harness.year import RANGE

MOST_BYTES, MOST_SECONDS = 300_000, 2.0
"""Of the first page with a year behind it; a machine that is not busy takes less than a second."""


WITHIN = 2.0
"""Seconds from the answer to a delivery until it is seen."""


def focused(page):
    return page.evaluate("[document.activeElement.tagName, document.activeElement.textContent.trim()]")


def test_it_is_used_by_keyboard_alone(site, visit):
    visitor = visit(site)
    page = visitor.open(f"/?{RANGE}")
    page.keyboard.press("Tab")
    assert focused(page) == ["A", "Skip to the content"]
    assert page.get_by_text("Skip to the content").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert focused(page) == ["A", "7d"]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(tuple(focused(page)))
    assert {("BUTTON", "Apply"), ("A", page.locator("#figure-commits").inner_text())} <= seen
    page.locator("#commits summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#commits table").is_visible()
    page.locator("nav a", has_text="Hours").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/hours?*")
    expect(page.locator("nav a[aria-current]")).to_have_text("Hours")


def test_the_theme_that_was_chosen_is_remembered(site, visit):
    visitor = visit(site, theme="light")
    page = visitor.open("/definitions")
    button = page.locator("#theme")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    for name in ("light", "dark"):
        button.press("Enter")
        assert button.inner_text() == f"Theme: {name}"
    dark = page.evaluate(background)
    assert dark != light
    page = visitor.open("/hooks")
    assert page.evaluate(background) == dark
    visitor.check()
    button.click()
    assert button.inner_text() == "Theme: system"
    assert page.evaluate(background) == light


def test_a_page_that_is_gone_back_to_is_live_again(site, visit):
    page = visit(site).open(f"/hours?{RANGE}")
    expect(page.locator("#live-text")).to_have_text("Live")
    with page.expect_request("**/live"):
        for name in ("pagehide", "pageshow"):  # as of a page that the browser kept
            page.evaluate("name => { dispatchEvent(new PageTransitionEvent(name, {persisted: true})) }", name)
    expect(page.locator("#live-text")).to_have_text("Live")


def test_the_first_page_is_small_and_quick(site, visit):
    visitor = visit(site)
    sizes = []
    visitor.context.on("requestfinished", lambda it: sizes.append(sum(it.sizes()[k] for k in _SIZES)))
    took = []
    for _ in range(3):
        visitor.page.context.clear_cookies()
        page = visitor.open(f"/?{RANGE}")
        took.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"))
        if len(took) == 1:
            first = sum(sizes)
    assert 50_000 < first < MOST_BYTES
    assert min(took) < MOST_SECONDS
    static = page.locator("link[rel=stylesheet]").get_attribute("href")
    headers = visitor.context.request.get(static).headers
    assert headers["cache-control"] == "public, max-age=31536000, immutable"


_SIZES = ("responseHeadersSize", "responseBodySize")


@pytest.fixture
def counting(redis_url, tmp_path):
    """A receiver and a worker of their own, with nothing counted yet."""
    database = f"sqlite:///{tmp_path / 'gitpulse.db'}"
    environment = {"GITPULSE_REDIS_URL": redis_url, "GITPULSE_DATABASE_URL": database}
    metrics = free_port()
    worker = running(
        [SCRIPTS / "gitpulse", "worker", "--metrics-port", str(metrics)],
        log=tmp_path / "worker.log", ready=lambda: answers(metrics), env=environment,
    )  # fmt: skip
    with worker, serving(settings(redis_url, database_url=database, api_tokens_required=False)) as port:
        yield f"http://127.0.0.1:{port}"


def deliver(url, number):
    """A merge request that was just opened, as GitLab tells of it."""
    content, now = body("merge_request/open"), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    content["object_attributes"] |= {"id": 900 + number, "iid": number, "created_at": now, "updated_at": now}
    headers = {"X-Gitlab-Event": "Merge Request Hook", "X-Gitlab-Token": SECRET, "X-Gitlab-Instance": INSTANCE}
    answer = httpx2.post(f"{url}{WEBHOOK_PATH}", json=content, headers=headers, timeout=20)
    assert answer.json()["status"] == "accepted"


def test_what_is_delivered_is_shown_within_two_seconds(counting, visit):
    visitor = visit(counting)
    page = visitor.open("/")
    assert "Nothing has been counted yet" in page.locator("h1").inner_text()
    expect(page.locator("#live-text")).to_have_text("Live")
    deliver(counting, 1)
    expect(page.locator("#figure-merge_requests_merged")).to_be_visible(timeout=15_000)  # it has come by itself
    expect(page.locator("#live-text")).to_have_text("Live")
    page.evaluate("window.stayed = true")
    page.locator("#commits-title").wait_for()
    deliver(counting, 2)
    began = time.monotonic()
    expect(page.locator("#latest")).to_contain_text("!2", timeout=15_000)
    assert time.monotonic() - began < WITHIN
    assert page.evaluate("window.stayed")
    link = page.locator("#latest tbody td a").first.get_attribute("href")
    assert link == "https://gitlab.example.com/acme/website/-/merge_requests/2"
    visitor.check()
