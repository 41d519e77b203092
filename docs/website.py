"""Builds the site from docs/: `make docs-site` puts it into .site/html, to be served by anything or opened as files.

Pages stand in docs/ as they read in a repository; here links that lead out of docs/ are made to lead to the
repository, and a few pages from elsewhere come along. Any warning fails the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "charts/gitpulse/README.md": "chart.md",
}
"""Pages that stand outside of docs/, and what they are in the site."""
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


class SiteError(Exception):
    """Something is missing; the text says what."""


def published() -> dict[str, str]:
    """Each file of the repository that is in the site -> where."""
    own = [it for it in DOCS.rglob("*") if it.suffix in {".md", ".png", ".svg"}]
    return {str(it.relative_to(ROOT)): str(it.relative_to(DOCS)) for it in sorted(own)} | ELSEWHERE


def reindented(text: str) -> str:
    """With four blanks where two or three put something below an item of a list, as Python-Markdown wants it."""
    lines, shift, in_fence = [], 0, False
    for line in text.split("\n"):
        indent, fence = len(line) - len(line.lstrip()), line.lstrip().startswith("```")
        if not in_fence:
            shift = 4 - indent if indent in (2, 3) else 0
        in_fence ^= fence
        lines.append(" " * shift * bool(line) + line)
    return "\n".join(lines)


def staged(text: str, source: str, repository: str) -> str:
    """A page of the site. Links to files that are not in it lead to `repository`."""
    places = published()

    def lead(link: re.Match[str]) -> str:
        target = os.path.normpath(Path(source).parent / link[1])
        place = places.get(target) or places.get(f"{target}/README.md")
        if place is None:
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            return f"]({repository}/-/{kind}/main/{target}{link[2] or ''})"
        return f"]({os.path.relpath(place, Path(places[source]).parent)}{link[2] or ''})"

    return LINK.sub(lead, reindented(text))


def entries(nav: list[Any]) -> Iterator[str]:
    """The pages in a tree of entries."""
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from entries(value) if isinstance(value, list) else [value]


def written_out(nav: list[Any], pages: set[str]) -> list[Any]:
    """The same tree with `folder/*` as the pages there that have no entry."""
    named, made = set(entries(nav)), []
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            made += sorted(it for it in pages - named if it.startswith(entry[:-1]))
        elif isinstance(entry, dict) and isinstance(value := next(iter(entry.values())), list):
            made.append({next(iter(entry)): written_out(value, pages)})
        else:
            made.append(entry)
    return made


def stage(folder: Path) -> Path:
    """Writes pages and configuration there; returns the latter. Raises SiteError where `nav` and pages disagree."""
    config = yaml.safe_load((DOCS / "site.yaml").read_text())
    repository = config.pop("repository")
    for source, place in published().items():
        target = folder / config["docs_dir"] / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            target.write_text(staged((ROOT / source).read_text(), source, repository))
        else:
            shutil.copyfile(ROOT / source, target)
    pages = {it for it in published().values() if it.endswith(".md")}
    config["nav"] = written_out(config["nav"], pages)
    listed = list(entries(config["nav"]))
    for wrong, what in ((pages - set(listed), "no entry in `nav` for"), (set(listed) - pages, "no such page:")):
        if wrong:
            raise SiteError(f"docs/site.yaml: {what} {', '.join(sorted(wrong))}")
    made = folder / "site.yaml"
    made.write_text(yaml.safe_dump(config, sort_keys=False))
    return made


def build(folder: Path) -> Path:
    """Builds the site below `folder`; returns where. Raises SiteError with what Zensical complains of."""
    shutil.rmtree(folder, ignore_errors=True)
    argv = [Path(sys.executable).parent / "zensical", "build", "--clean", "--strict", "--config-file", stage(folder)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        told = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr).partition("Traceback")[0]
        raise SiteError(f"the site has warnings\n{told}")
    return folder / "html"


if __name__ == "__main__":
    try:
        sys.stderr.write(f"wrote {build(ROOT / '.site')}/index.html\n")
    except SiteError as error:
        sys.exit(str(error))
