"""Our pages as somebody reads them: the blocks of code in them, and how each of these is held to be true.

An HTML comment before a block says so where it is not what `tests/docs/test_pages.py` does by itself with its language:

`<!-- test: in FILE -->`        it is a part of this file, which has tests of its own
`<!-- test: by TEST -->`        this test file runs the page
`<!-- test: not REASON -->`     it cannot be run here, and why; that a shell can read it is checked all the same

With `tests:` in the place of `test:` it is about all blocks after it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent.parent
CLAIM = re.compile(r"<!-- (tests?): (in|by|not) (.+?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block. `claim` and `reason` are those of the comment, empty without one."""

    page: str
    line: int
    language: str
    text: str
    claim: str = ""
    reason: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command, and what the page shows of its output; None where it shows nothing of any command."""

    text: str
    shown: str | None = None


def pages() -> list[str]:
    """All of ours that are in the repository, by their paths."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return sorted(it for it in listed if not it.startswith("tests/") and (ROOT / it).is_file())


def blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page. Raises ValueError for a comment that is not as above, or before no block."""
    standing, pending = ("", ""), None
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "html_block" and "<!-- test" in token.content:
            if not (found := CLAIM.fullmatch(token.content.strip())):
                raise ValueError(f"{page}: what does this say? {token.content}")
            claim = (found[2], " ".join(found[3].split()))
            standing, pending = (claim, pending) if found[1] == "tests" else (standing, claim)
        elif token.type == "fence":
            claim, pending = pending or standing, None
            yield Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content, *claim)
        elif pending and token.type not in ("html_block", "fence"):
            raise ValueError(f"{page}: no block behind `{' '.join(pending)}`")


def commands(block: Block) -> list[Command]:
    """What one types: of `console` what stands behind `$ `, with what is shown; of `sh` everything."""
    if block.language != "console":
        return [Command(it) for it in whole(block.text.splitlines())]
    found: list[Command] = []
    lines = block.text.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            raise ValueError(f"{block.place}: output of no command: {line}")
        typed = [line[2:]]
        while lines and not is_whole("\n".join(typed)):
            typed.append(lines.pop(0))
        shown = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        found.append(Command("\n".join(typed), "\n".join(shown).strip() or None))
    return found


def whole(lines: list[str]) -> Iterator[str]:
    """Cuts lines into commands that a shell would run."""
    typed: list[str] = []
    for line in lines:
        typed.append(line)
        if is_whole(text := "\n".join(typed)):
            if text.strip() and not text.lstrip().startswith("#"):
                yield text
            typed = []
    if typed:
        raise ValueError(f"a command without an end: {typed[0]}")


def is_whole(text: str) -> bool:
    """Whether a shell would run this rather than wait for more."""
    if text.rstrip("\n").endswith("\\"):
        return False
    done = subprocess.run(["bash", "-n"], input=text + "\n", check=False, capture_output=True, text=True)
    return done.returncode == 0 and not done.stderr


def alike(shown: str, came: str) -> bool:
    """Whether an output is as a page shows it: `…` is any text, blanks count as one."""
    pattern = ".*?".join(re.escape(part) for part in " ".join(shown.split()).split("…"))
    pattern = pattern.replace("\\ .*?\\ ", ".*?")
    return re.fullmatch(pattern, " ".join(came.split()), re.DOTALL) is not None
