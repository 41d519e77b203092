"""The site that `make docs-site` makes: it is whole, it needs nobody else, and what is wrong with a page is told."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
"""What a browser fetches by itself."""


@pytest.fixture(scope="module")
def website():
    spec = importlib.util.spec_from_file_location("website", ROOT / "docs/website.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(website, tmp_path_factory):
    return website.build(tmp_path_factory.mktemp("site"))


@pytest.fixture
def pages(website, monkeypatch, tmp_path):
    """A copy of docs/, to write mistakes into."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for source in website.ELSEWHERE:
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / source)
    monkeypatch.setattr(website, "ROOT", tmp_path)
    monkeypatch.setattr(website, "DOCS", tmp_path / "docs")
    return tmp_path / "docs"


class Page(HTMLParser):
    """What a page fetches, and the texts of its paragraphs."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.paragraphs, self._in = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        url = attributes.get(FETCHED.get(tag, ""))
        if url and attributes.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(url)
        if tag == "p":
            self.paragraphs.append("")
        self._in = tag == "p" or (self._in and tag not in ("pre", "div", "table"))

    def handle_endtag(self, tag):
        self._in = self._in and tag != "p"

    def handle_data(self, data):
        if self._in:
            self.paragraphs[-1] += data


def test_every_page_of_ours_is_there(site, website):
    for place in website.published().values():
        made = re.sub(r"(^|/)README\.md$", r"\1index.md", place)
        assert (site / made).with_suffix(".html" if made.endswith(".md") else Path(made).suffix).is_file(), place


def test_nothing_is_fetched_from_elsewhere(site):
    pages = {it: Page(it.read_text()) for it in site.rglob("*.html")}
    fetched = {(page, url) for page, it in pages.items() for url in it.fetched}
    assert any(url.endswith(".js") for _, url in fetched)
    assert [it for it in fetched if re.match(r"(\w+:)?//", it[1])] == []
    missing = {(page.name, url) for page, url in fetched if not (page.parent / url.partition("?")[0]).is_file()}
    assert {page for page, _ in missing} <= {"404.html"}, missing
    styles = "".join(it.read_text() for it in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:\w+:)?//[^)'\"]+", styles) == []
    # What its own script would fetch: the drawer of diagrams, where there is one, and a repository's stars.
    assert not any(re.search('class="mermaid"|data-md-component="source"', it.read_text()) for it in pages)


def test_lists_and_fences_are_what_they_are_elsewhere(site):
    """Python-Markdown wants an empty line before a list, and four blanks below one; others do not."""
    wrong = [
        (page.name, text)
        for page in site.rglob("*.html")
        for text in Page(page.read_text()).paragraphs
        if re.search(r"```|^ *(-|\d+\.) ", text, re.MULTILINE) or text.startswith("|")
    ]
    assert wrong == []


def test_it_is_searched_without_a_server(site):
    found = json.loads((site / "search.json").read_text())
    assert any("rotation" in json.dumps(it).lower() for it in found["items"])


@pytest.mark.parametrize(
    ("page", "text", "told"),
    [
        ("api.md", "[there](nowhere.md)", "page does not exist"),
        ("api.md", "[there](metrics.md#nowhere)", "anchor does not exist"),
        ("unlisted.md", "# Unlisted", "no entry in `nav` for unlisted.md"),
    ],
)
def test_a_mistake_fails_the_build(website, pages, tmp_path, page, text, told):
    with (pages / page).open("a") as file:
        file.write(f"\n{text}\n")
    # Links to what is not there lead to the repository; that they lead somewhere is for tests/test_house.py.
    website.LINK = re.compile(r"\]\((?!\w+:|#|nowhere)([^)#\s]+)(#[^)\s]*)?\)")
    with pytest.raises(website.SiteError, match=re.escape(told)):
        website.build(tmp_path / "site")


def test_an_entry_without_a_page_fails_the_build(website, pages, tmp_path):
    (pages / "people.md").unlink()
    with pytest.raises(website.SiteError, match=r"no such page: people\.md"):
        website.build(tmp_path / "site")
