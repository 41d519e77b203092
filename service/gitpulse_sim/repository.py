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

_FIELDS = "%H %P %an %ae %aI %cn %ce %cI %B ".replace(" ", "%x00")
_RECORD = "\x1e"
_DIFF = ("-z", "--find-renames=30%", "--diff-merges=first-parent")
"""How GitLab looks for what a commit changed."""
_GRAPH_AFTER = 2_000
"""New commits after which git gets a commit graph, so that the last page of a long log is as fast as the first."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote a commit, as git knows it."""

    name: str
    email: str
    encoding: str = field(default="utf-8", compare=False)
    """Of the name in the commit. Git keeps no note of it, so whoever reads another one than UTF-8 has to guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A commit to be made. `at` carries the author's offset; the author has committed it then unless told otherwise."""

    message: str
    author: Person
    at: datetime
    files: Mapping[str, str | None] = field(default_factory=dict)
    """Path -> new content; None: the file is removed."""
    committer: Person | None = None
    committed_at: datetime | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    """Path -> new path."""
    merges: Sequence[str] = ()
    """Its parents beside the first."""
    changes: Sequence[str] = ()
    """What others have changed, as `Repository.changes` tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as git has it, with the paths it touched against its first parent; a renamed one counts as added."""

    sha: str
    parents: tuple[str, ...]
    author: Person
    at: datetime
    committer: Person
    committed_at: datetime
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
    """What each branch and tag points at (an annotated tag: the tag object)."""
    _making: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _ungraphed: int = 0

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
            if mark == 1 and onto:
                lines.append(f"from {onto}".encode())
            lines += [line.encode() for line in (*(f"merge {sha}" for sha in draft.merges), *draft.changes)]
            lines += [f'R "{old}" "{new}"'.encode() for old, new in draft.renames.items()]
            lines += [line for path, content in draft.files.items() for line in _file(path, content)]
        lines += [f"get-mark :{mark}".encode() for mark in range(1, len(drafts) + 1)]
        shas = self.git("fast-import", "--quiet", "--force", "--done", stdin=b"\n".join([*lines, b"done\n"])).split()
        self._note(ref, shas[-1])
        self._ungraphed += len(shas)
        return shas

    def changes(self, base: str, tip: str) -> list[str]:
        """What it takes to make `base` the same as `tip`, for a draft. Applied to a third commit it never conflicts."""
        found = []
        for change in self.git("diff-tree", "-r", "--raw", "--no-renames", base, tip).splitlines():
            about, path = change.split("\t", 1)
            _, mode, _, blob, status = about.split(" ")
            found.append(f"D {path}" if status == "D" else f"M {mode} {blob} {path}")
        return found

    def merge_base(self, one: str, other: str) -> str:
        return self.git("merge-base", one, other).strip()

    def point(self, ref: str, target: str) -> None:
        """Creates or moves a ref. A file, not a process: there may be a thousand. Raises BadRequest."""
        if ".." in ref:
            raise BadRequest(f"{ref} is no name for a ref")
        self._make()
        try:
            (self.path / ref).parent.mkdir(parents=True, exist_ok=True)
            (self.path / ref).write_text(f"{target}\n")
        except OSError as error:
            raise BadRequest(f"{ref} cannot be a ref beside those that are there") from error
        self._note(ref, target)

    def keep(self, sha: str) -> None:
        """Lets a commit stay whatever becomes of its branch, as GitLab does where something but a branch had it."""
        self.point(f"refs/keep-around/{sha}", sha)

    def tag(self, name: str, target: str, *, message: str, tagger: Person, at: datetime) -> str:
        """Makes a tag, an annotated one if it has a message, and returns what it points at."""
        if message:
            text = b"object %s\ntype commit\ntag %s\ntagger " % (target.encode(), name.encode())
            text += b"%s\n\n%s\n" % (_signature(tagger, at), message.encode())
            target = self.git("mktag", stdin=text).strip()
        self.point(f"refs/tags/{name}", target)
        return target

    def delete(self, ref: str) -> str:
        """Deletes a ref and returns what it pointed at."""
        (self.path / ref).unlink()
        return self.tips.pop(ref)

    def resolve(self, revision: str) -> str | None:
        """The commit that a name stands for, or None."""
        if revision.startswith("-"):
            return None
        result = self._run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"], b"")
        return result.stdout.decode().strip() or None

    def log(self, *revisions: str, limit: int | None = None, skip: int = 0, paths: bool = True) -> list[Commit]:
        """Commits, newest first. `revisions` are git's own words: `a..b`, `--all`, `--since=…`. Raises GitFailed."""
        if self._ungraphed > _GRAPH_AFTER:
            self._ungraphed = 0
            self.git("commit-graph", "write", "--reachable")
        arguments = [f"--format={_RECORD}{_FIELDS}", f"--skip={skip}", *(["--name-status", *_DIFF] if paths else ())]
        if limit is not None:
            arguments.append(f"--max-count={limit}")
        return [_parse(record) for record in self.git("log", *arguments, *revisions, "--").split(_RECORD)[1:]]

    def diff(self, sha: str) -> list[tuple[str, str, str, str, str]]:
        """What a commit changed against its first parent: status letter, old and new mode, old and new path."""
        found = []
        words = self.git("log", "--max-count=1", "--format=", "--raw", "--no-abbrev", *_DIFF, sha).split("\0")[:-1]
        while words:
            old_mode, mode, _, _, status = words.pop(0).removeprefix(":").split(" ")
            old = words.pop(0)
            found.append((status[0], old_mode, mode, old, words.pop(0) if status[0] == "R" else old))
        return found

    def count(self, *revisions: str) -> int:
        return int(self.git("rev-list", "--count", *revisions))

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Runs git here and returns what it prints; bytes that are not UTF-8 as lone surrogates. Raises GitFailed."""
        result = self._run(arguments, stdin)
        if result.returncode:
            raise GitFailed(f"git {arguments[0]} failed: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout.decode(errors="surrogateescape")

    def _note(self, ref: str, target: str) -> None:
        if ref.startswith(("refs/heads/", "refs/tags/")):
            self.tips[ref] = target

    def _make(self) -> None:
        with self._making:
            if not self.path.exists():
                self.path.mkdir()
                self.git("init", "--bare", "--quiet", "--template=", "--initial-branch=main", ".")

    def _run(self, arguments: Sequence[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        program = shutil.which("git")
        if program is None:
            raise GitFailed("the git program is needed and was not found; install git")
        self._make()
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


def _signature(person: Person, at: datetime) -> bytes:
    return b"%s <%s> %d %s" % (
        person.name.encode(person.encoding), person.email.encode(), int(at.timestamp()), f"{at:%z}".encode(),
    )  # fmt: skip


def _data(text: str) -> list[bytes]:
    raw = text.encode()
    return [f"data {len(raw)}".encode(), raw]


def _commit_head(ref: str, mark: int, draft: Draft) -> list[bytes]:
    committer = _signature(draft.committer or draft.author, draft.committed_at or draft.at)
    who = [b"author " + _signature(draft.author, draft.at), b"committer " + committer]
    return [f"commit {ref}".encode(), f"mark :{mark}".encode(), *who, *_data(draft.message)]


def _file(path: str, content: str | None) -> list[bytes]:
    if content is None:
        return [f"D {path}".encode()]
    return [f"M 100644 inline {path}".encode(), *_data(content)]


def shown(text: str) -> str:
    """What git printed, as GitLab shows it: what is not UTF-8 is taken for Latin-1.

    [unverified] GitLab asks a detector, which needs some text to be sure, and drops what it cannot read.
    """
    raw = text.encode(errors="surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _parse(record: str) -> Commit:
    sha, parents, author, email, at, committer, address, committed_at, message, rest = record.split("\0", 9)
    touched: dict[str, list[str]] = {"A": [], "M": [], "D": [], "R": [], "T": []}
    words = [word for word in rest.replace("\n", "").split("\0") if word]
    while words:
        status = words.pop(0)[0]
        path = words.pop(0)
        touched[status].append(shown(words.pop(0) if status == "R" else path))
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        author=Person(shown(author), email),
        at=datetime.fromisoformat(at),
        committer=Person(shown(committer), address),
        committed_at=datetime.fromisoformat(committed_at),
        message=shown(message),
        added=tuple(touched["A"] + touched["R"]),
        modified=tuple(touched["M"] + touched["T"]),
        removed=tuple(touched["D"]),
    )
