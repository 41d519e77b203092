"""A bare git repository, made with the real git program, so that `git log` can say what is true.

This object is the only writer of its folder. It knows git and nothing of GitLab. Calls block for some milliseconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gitpulse_sim.errors import BadRequest, GitFailed

ZEROS = "0" * 40
"""Stands for "no commit" where a branch or tag is created or deleted."""

_FIELDS = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%B%x00"
_RECORD = "\x1e"


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote a commit, as git knows it."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A commit to be made. `at` carries the author's offset."""

    message: str
    author: Person
    at: datetime
    files: Mapping[str, str | None]
    """Path -> new content; None: the file is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as git has it, with the paths it touched against its first parent. Who wrote it has committed it."""

    sha: str
    parents: tuple[str, ...]
    author: Person
    at: datetime
    message: str
    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def short_sha(self) -> str:
        return self.sha[:8]

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]


@dataclass(slots=True)
class Repository:
    """One bare repository, on the disk from its first use on. Ref names are full: `refs/heads/main`."""

    path: Path
    tips: dict[str, str] = field(default_factory=dict)
    """What each ref points at (an annotated tag: the tag object)."""
    _making: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def is_empty(self) -> bool:
        return not any(ref.startswith("refs/heads/") for ref in self.tips)

    def tip(self, branch: str) -> str:
        """The commit that a branch points at. Raises BadRequest."""
        try:
            return self.tips[f"refs/heads/{branch}"]
        except KeyError:
            raise BadRequest(f"there is no branch {branch}") from None

    def commit(self, ref: str, drafts: Sequence[Draft], *, onto: str | None) -> list[str]:
        """Writes commits on top of `onto` (None: a first commit) and moves the ref there, forwards or not."""
        lines: list[bytes] = []
        for mark, draft in enumerate(drafts, 1):
            lines += _commit_head(ref, mark, draft)
            if mark == 1:
                lines += [f"from {onto}".encode()] if onto else []
            lines += [line for path, content in draft.files.items() for line in _file(path, content)]
        return self._import(ref, lines, len(drafts))

    def merge(self, branch: str, into: str, *, message: str, author: Person, at: datetime) -> str:
        """Makes a merge commit. Where both sides touched a path the branch's version wins, so it never conflicts."""
        ours, theirs = self.tip(into), self.tip(branch)
        base = self.git("merge-base", ours, theirs).strip()
        lines = _commit_head(f"refs/heads/{into}", 1, Draft(message=message, author=author, at=at, files={}))
        lines += [f"from {ours}".encode(), f"merge {theirs}".encode()]
        for change in self.git("diff-tree", "-r", "--raw", "--no-renames", base, theirs).splitlines():
            about, path = change.split("\t", 1)
            _, mode, _, blob, status = about.split(" ")
            lines.append(f"D {path}".encode() if status == "D" else f"M {mode} {blob} {path}".encode())
        return self._import(f"refs/heads/{into}", lines, 1)[0]

    def point(self, ref: str, target: str) -> None:
        """Creates or moves a ref."""
        self.git("update-ref", ref, target)
        self.tips[ref] = target

    def tag(self, name: str, target: str, *, message: str, tagger: Person, at: datetime) -> str:
        """Makes a tag, an annotated one if it has a message, and returns what it points at."""
        if message:
            text = f"object {target}\ntype commit\ntag {name}\ntagger {_signature(tagger, at)}\n\n{message}\n"
            target = self.git("mktag", stdin=text.encode()).strip()
        self.point(f"refs/tags/{name}", target)
        return target

    def delete(self, ref: str) -> str:
        """Deletes a ref and returns what it pointed at."""
        self.git("update-ref", "-d", ref)
        return self.tips.pop(ref)

    def resolve(self, revision: str) -> str | None:
        """The commit that a name stands for, or None."""
        if revision.startswith("-"):
            return None
        result = self._run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"], b"")
        return result.stdout.decode().strip() or None

    def log(self, *revisions: str, limit: int | None = None, paths: bool = True) -> list[Commit]:
        """Commits, newest first. `revisions` are git's own words: `a..b`, `--all`, `--since=…`."""
        arguments = ["log", "--topo-order", f"--format={_RECORD}{_FIELDS}"]
        if paths:
            arguments += ["--name-status", "-z", "--no-renames", "--diff-merges=first-parent"]
        if limit is not None:
            arguments.append(f"--max-count={limit}")
        output = self.git(*arguments, *revisions)
        return [_parse(record) for record in output.split(_RECORD)[1:]]

    def count(self, *revisions: str) -> int:
        return int(self.git("rev-list", "--count", *revisions))

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Runs git here and returns what it prints. Raises GitFailed."""
        result = self._run(arguments, stdin)
        if result.returncode:
            raise GitFailed(f"git {arguments[0]} failed: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout.decode(errors="replace")

    def _import(self, ref: str, lines: list[bytes], count: int) -> list[str]:
        lines += [f"get-mark :{mark}".encode() for mark in range(1, count + 1)]
        lines.append(b"done\n")
        shas = self.git("fast-import", "--quiet", "--force", "--done", stdin=b"\n".join(lines)).split()
        self.tips[ref] = shas[-1]
        return shas

    def _run(self, arguments: Sequence[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        program = shutil.which("git")
        if program is None:
            raise GitFailed("the git program is needed and was not found; install git")
        with self._making:
            if not self.path.exists():
                self.path.mkdir()
                self.git("init", "--bare", "--quiet", "--template=", "--initial-branch=main", ".")
        return subprocess.run(  # noqa: S603 - our own arguments, no shell
            [program, *arguments], cwd=self.path, input=stdin, capture_output=True, env=_ENVIRONMENT, check=False
        )


_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_DIR": ".",
    "LC_ALL": "C",
}
"""Nobody's own git settings may change what the simulator does."""


def _signature(person: Person, at: datetime) -> str:
    return f"{person.name} <{person.email}> {int(at.timestamp())} {at:%z}"


def _data(text: str) -> list[bytes]:
    raw = text.encode()
    return [f"data {len(raw)}".encode(), raw]


def _commit_head(ref: str, mark: int, draft: Draft) -> list[bytes]:
    who = _signature(draft.author, draft.at)
    head = [f"commit {ref}", f"mark :{mark}", f"author {who}", f"committer {who}"]
    return [line.encode() for line in head] + _data(draft.message)


def _file(path: str, content: str | None) -> list[bytes]:
    if content is None:
        return [f"D {path}".encode()]
    return [f"M 100644 inline {path}".encode(), *_data(content)]


def _parse(record: str) -> Commit:
    sha, parents, author, email, at, message, rest = record.split("\0", 6)
    words = [word for word in rest.replace("\n", "").split("\0") if word]
    touched: dict[str, list[str]] = {"A": [], "M": [], "D": [], "T": []}
    for status, path in zip(words[::2], words[1::2], strict=True):
        touched[status].append(path)
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        author=Person(author, email),
        at=datetime.fromisoformat(at),
        message=message,
        added=tuple(touched["A"]),
        modified=tuple(touched["M"] + touched["T"]),
        removed=tuple(touched["D"]),
    )
