"""The house itself: what must be true of the tree, whatever stands in it."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for folder in ("operator", "service", "bench") for p in (ROOT / folder).rglob("*.py"))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_nothing_shadows_the_standard_library():
    assert not (ROOT / "operator/__init__.py").exists()
    assert not (ROOT / "service/__init__.py").exists()
    assert not (ROOT / "operator.py").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_fits(path):
    text = path.read_text()
    if not text:
        assert path.name == "__init__.py"
        return
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with what it is for"
    assert text.count("\n") <= 400, "one noun a module"
    if path.parent.name == "versions":
        return  # a migration lists tables, as long as they are
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} does not fit a screen"


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(phony[1].split()) == {line.split()[1] for line in shown.splitlines() if line.startswith("  make ")}


def test_ci_runs_what_the_readme_says():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    for command in ("make demo", "make test"):
        assert command in readme
        assert command in ci


def test_every_link_of_our_pages_leads_somewhere():
    links = [
        (page, target)
        for page in tracked()
        if page.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    ]
    broken = [f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()]
    assert broken == []


def test_every_test_that_our_pages_name_is_there():
    sources = "".join(path.read_text() for path in tracked() if path.name.startswith("test_"))
    there = set(re.findall(r"def (test_\w+)", sources))
    pages = "".join(page.read_text() for page in tracked() if page.suffix == ".md")
    assert sorted(set(re.findall(r"`(test_\w+)`", pages)) - there) == []


def test_no_credential_is_kept_in_the_tree():
    pattern = re.compile(r"glpat-[A-Za-z0-9_-]{16,}|BEGIN (RSA |EC )?PRIVATE KEY")
    found = [str(p) for p in tracked() if p.suffix in {".py", ".yaml", ".md", ".toml", ".json"} and p != Path(__file__)]
    assert [f for f in found if pattern.search(Path(f).read_text())] == []
