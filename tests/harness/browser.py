"""Chromium, driven by Playwright, and axe-core: what people's browsers and assistive technology make of a page.

The browser is the machine's own (`apt-get install chromium`), axe-core comes from npm as tests/browser/npm pins it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from harness import built
from harness.processes import wait_until

ROOT = Path(__file__).parents[2]
VENDORED = ROOT / "service/gitpulse_service/dashboard/npm/vendored.py"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SERIOUS = ("serious", "critical")
NOISE = "Failed to load resource: the server responded with a status of"
"""What Chromium says of every page that is an error; the test looks at the status."""


def chromium() -> Path:
    """The program. Skips the test where there is none, but for CI, where it fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return Path(found)
    message = f"no Chromium among {', '.join(NAMES)}; apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def axe() -> str:
    """The script of axe-core, from the user's cache."""
    target = built.CACHE / "axe"
    with built.locked(built.CACHE, "axe-core"):
        subprocess.run([sys.executable, VENDORED, target, ROOT / "tests/browser/npm"], check=True)
    return (target / "axe.js").read_text()


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """A browser until the block ends."""
    program = chromium()
    with sync_playwright() as playwright:
        sandbox = [] if os.getuid() else ["--no-sandbox"]  # root has none
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


class Visit:
    """A visitor's pages at one site, and all that was wrong with them."""

    def __init__(self, browser: Browser, url: str, script: str, **options: Any) -> None:
        self.url, self._axe, self.wrong = url, script, list[str]()
        self.context: BrowserContext = browser.new_context(base_url=url, reduced_motion="reduce", **options)
        self.context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        self.context.on("console", self._said)
        self.context.on("request", self._asked)
        self.page: Page = self.context.new_page()

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NOISE):
            self.wrong.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.wrong.append(f"asked for {request.url}")

    def open(self, path: str, status: int = 200) -> Page:
        """Goes there, and waits until charts are drawn."""
        answer = self.page.goto(path, wait_until="load")
        assert answer
        assert answer.status == status, answer.text()[-600:]
        if self.page.locator("html.js").count():
            self.page.wait_for_selector("html.ready")
        return self.page

    def check(self) -> None:
        """Nothing was wrong so far, and nothing on this page hinders anybody."""
        self.page.evaluate(self._axe)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        barriers = [
            f"{it['id']}: {it['help']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
            for it in found["violations"]
            if it["impact"] in SERIOUS
            for node in it["nodes"][:3]
        ]
        assert barriers + self.wrong == []

    def fits(self) -> None:
        """No page is wider than the window, once charts have taken its size."""
        fit = "document.documentElement.scrollWidth <= innerWidth"
        wait_until(lambda: self.page.evaluate(fit), what=f"{self.page.url} fits {self.page.viewport_size}", timeout=5)
