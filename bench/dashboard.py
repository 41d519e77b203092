"""The dashboard's first page in Chromium, a year of a company behind it: `make bench SUITE=dashboard [N=loads]`.

The same page over an empty database, from the same programs, is the baseline: what is above it is the cost of numbers.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from playwright.sync_api import Browser  # noqa: E402

from harness import year  # noqa: E402
from harness.browser import browsing  # noqa: E402
from harness.processes import SCRIPTS, answers, free_port, running  # noqa: E402
from harness.redis import redis_server  # noqa: E402

GOALS = {"page_kb": "< 300", "cold_s": "< 1", "warm_s": "< 1"}
LOADS = 20
TOOK = "performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
SIZE = (
    "['navigation', 'resource'].flatMap(it => performance.getEntriesByType(it))"
    ".reduce((sum, it) => sum + it.transferSize, 0) / 1000"
)


@contextmanager
def _site(folder: Path, *, empty: bool) -> Iterator[str]:
    """A receiver that has just started."""
    port = free_port()
    database = year.write(folder / f"{'empty' if empty else 'year'}.db", empty=empty)
    argv = [SCRIPTS / "gitpulse", "receiver", "--port", str(port), "--metrics-port", "0"]
    with redis_server(folder) as redis:
        environment = {"GITPULSE_REDIS_URL": redis.url, "GITPULSE_DATABASE_URL": database}
        environment["GITPULSE_API_TOKENS_REQUIRED"] = "false"
        with running(argv, log=folder / "receiver.log", ready=lambda: answers(port), env=environment):
            yield f"http://127.0.0.1:{port}/?{year.RANGE}"


def _loads(browser: Browser, url: str, n: int) -> tuple[float, list[float]]:
    """Kilobytes of the first load, and seconds of each; each by somebody who was never there before."""
    size, took = 0.0, []
    for _ in range(n):
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(url)
            took.append(float(page.evaluate(TOOK)))
            size = size or float(page.evaluate(SIZE))
    return size, took


def run(n: int | None, say: Callable[[str], None]) -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, browsing() as browser:
        for kind in ("empty", "year"):
            say(f"the first page, {kind}")
            (folder := Path(name) / kind).mkdir()
            with _site(folder, empty=kind == "empty") as url:
                size, (cold, *warm) = _loads(browser, url, n or LOADS)
            figures[f"{kind}_s"] = statistics.median(warm)
        figures |= {"page_kb": size, "cold_s": cold, "warm_s": figures.pop("year_s")}
    return {**figures, "year_vs_empty": figures["warm_s"] / figures["empty_s"]}
