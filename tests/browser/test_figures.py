"""What pages show is what the query API answers; CSV is what the tables hold; charts are drawn from those tables."""

import csv
import io
from urllib.parse import urljoin

import httpx2
import pytest

from gitpulse_service.store.facts import METRICS
from harness.year import RANGE

VALUES = """card => [...card.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => {
    const found = cell.querySelector('data, time');
    return found ? found.value ?? found.dateTime : cell.textContent.trim();
}))"""
DRAWN = """canvas => {
    const chart = Chart.getChart(canvas), rows = [...canvas.closest('.card').querySelectorAll('tbody tr')];
    const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return {
        painted: bytes.some(it => it > 0),
        drawn: chart.data.datasets.map(it => it.data),
        told: [...rows[0].cells].slice(1).map((_, i) => rows.map(row => {
            const found = row.cells[i + 1].querySelector('data');
            return found ? Number(found.value) : null;
        })),
    };
}"""
FIGURES = {
    "commits": "count",
    "merge_requests_merged": "count",
    "time_to_merge": "p50",
    "time_to_first_review": "p50",
    "pipeline_success_rate": "mean",
    "deployments": "count",
}


@pytest.fixture(scope="module")
def api(site):
    """The query API of the same receiver."""
    with httpx2.Client(base_url=f"{site}/api/v1/", timeout=60) as client:

        def ask(path):
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield ask


def plain(value):
    """As a page and CSV write the same number."""
    try:
        return float(value)
    except ValueError:
        return value.replace("–", "")


@pytest.mark.parametrize("scope", ["", "&team=web", "&project=acme/api&tz=Asia/Tokyo", "&bots=false"])
def test_key_figures_are_the_apis(site, visit, api, scope):
    page = visit(site).open(f"/?{RANGE}{scope}")
    for metric, figure in FIGURES.items():
        (told,) = api(f"metrics/{metric}?{RANGE}{scope}")["items"]
        shown = page.locator(f"#figure-{metric} data").get_attribute("value")
        assert float(shown) == told[figure], metric


def test_a_chart_is_the_apis_series(site, visit, api):
    page = visit(site).open(f"/teams/web?{RANGE}&bucket=week")
    told = [it["count"] for it in api(f"metrics/commits?{RANGE}&team=web&bucket=week")["items"]]
    rows = page.locator("#commits").evaluate(VALUES)
    assert [int(row[1]) for row in rows] == told
    assert sum(told) == int(page.locator("#figure-commits data").get_attribute("value"))


def test_hours_and_reviews_are_the_apis(site, visit, api):
    page = visit(site).open(f"/hours?{RANGE}&team=web")
    cells = [int(it) for row in page.locator("#week").evaluate(VALUES) for it in row[1:]]
    told = {it["group"]: it["count"] for it in api(f"metrics/commit_hours?group_by=label&{RANGE}&team=web")["items"]}
    assert cells == [told.get(hour, 0) for hour in range(168)]
    page = visit(site).open(f"/merge-requests?{RANGE}")
    authors = page.locator("#reviews thead th").all_inner_texts()[1:]
    rows = page.locator("#reviews").evaluate(VALUES)
    given = {it["group"]: it["count"] for it in api(f"metrics/reviews?group_by=person&{RANGE}")["items"]}
    assert {row[0]: sum(map(int, row[1:])) for row in rows} == given
    received = {it["group"]: it["count"] for it in api(f"metrics/reviews?group_by=label&{RANGE}")["items"]}
    assert {name: sum(int(row[i]) for row in rows) for i, name in enumerate(authors, 1)} == received


@pytest.mark.parametrize(
    "path", ["/", "/merge-requests", "/pipelines", "/hours", "/people", "/projects/acme/api", "/hooks"]
)
def test_csv_is_what_the_table_holds(site, visit, path):
    page = visit(site).open(f"{path}?{RANGE}")
    for card in page.locator("section.card:has(a[download])").all():
        answer = httpx2.get(urljoin(page.url, card.locator("a[download]").get_attribute("href")), timeout=60)
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].startswith("attachment")
        head, *rows = csv.reader(io.StringIO(answer.text))
        assert head == card.locator("thead th").evaluate_all("all => all.map(it => it.textContent)")
        shown = [[plain(it) for it in row] for row in card.evaluate(VALUES)]
        assert [[plain(it) for it in row] for row in rows] == shown


@pytest.mark.parametrize("path", ["/", "/merge-requests", "/pipelines", "/hours"])
def test_charts_are_drawn_from_their_tables(site, visit, path):
    page = visit(site).open(f"{path}?{RANGE}")
    for canvas in page.locator("canvas").all():
        found = canvas.evaluate(DRAWN)
        assert found["painted"]
        assert found["drawn"] == found["told"]


def test_every_figure_leads_to_its_definition_and_to_gitlab(site, visit):
    visitor = visit(site)
    page = visitor.open(f"/?{RANGE}")
    anchors = page.locator("a[href*='/definitions']").evaluate_all("all => all.map(it => it.hash.slice(1))")
    assert set(FIGURES) <= set(filter(None, anchors)) <= set(METRICS)
    page.locator("#figure-time_to_merge a").click()
    assert page.locator("h1").inner_text() == "time_to_merge"
    assert RANGE.split("&")[0] in page.url
    first = page.locator("#facts tbody th a").first
    assert first.get_attribute("href").startswith("https://gitlab.example.com/acme/")
    page.get_by_role("link", name="time_to_merge", exact=True).first.click()
    assert page.locator("#time_to_merge").is_visible()
    for anchor in set(filter(None, anchors)):
        assert page.locator(f"#{anchor}").count() == 1


def test_range_and_filters_live_in_the_url(site, visit):
    page = visit(site).open(f"/?{RANGE}")
    page.get_by_label("Team").select_option("api")
    page.get_by_role("button", name="Apply").click()
    assert "team=api" in page.url
    assert "from=2026-01-31" in page.url
    commits = page.locator("#figure-commits").inner_text()
    page.get_by_role("link", name="Merge requests", exact=True).click()
    assert "team=api" in page.url
    page.get_by_role("link", name="time_to_merge", exact=True).first.click()
    page.get_by_role("link", name="Overview").click()
    assert page.locator("#figure-commits").inner_text() == commits
    page.get_by_role("link", name="1y").click()
    assert "range=1y" in page.url
    assert "from=" not in page.url
    assert page.get_by_role("link", name="1y").get_attribute("aria-current") == "true"
