"""The images that a cluster needs, built by the Docker that is there: ours, and stand-ins for what cannot be pulled.

`BASE_IMAGE` is what ours stand on, by default what their Dockerfiles name. Wheels come from PyPI to this machine, not
to the builder, which may reach nothing. `python -m harness.images` builds ours beforehand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
from packaging.markers import Marker

from harness import built
from harness.built import ProgramMissing, say
from harness.chart import CHART, ROOT

CACHE = built.CACHE / "images"
CLUSTER = ROOT / "tests/cluster"
PYTHON = "docker.io/library/python:3.13.9-slim-bookworm"
GLIBC = range(5, 37)
"""Of wheels that any of our bases can load: Debian 12 has 2.36."""
STAND_IN = "gitpulse-test/stand-in:12"
STOOD_IN = "redis-server,postgresql,git,python3,python3-venv,ca-certificates"
"""What a Debian root holds in the place of three images."""
_ABOUT = "import json, platform, sys; print(json.dumps([platform.python_version(), platform.machine()]))"


class Base(NamedTuple):
    """An image to build on, and its Python."""

    image: str
    python: str
    """3.13.9"""
    machine: str
    """x86_64"""


class Images(NamedTuple):
    """By name, all that a cluster needs; the node has none of them yet."""

    operator: str
    service: str
    simulator: str
    redis: str
    database: str


def docker(*arguments: str | Path) -> str:
    """What Docker prints. Raises ProgramMissing with what it says."""
    try:
        done = subprocess.run(["docker", *map(str, arguments)], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise ProgramMissing("there is no Docker") from None
    if done.returncode:
        raise ProgramMissing(f"docker {arguments[0]}: {(done.stderr + done.stdout)[-3000:].strip()}")
    return done.stdout.strip()


def ours(part: str) -> str:
    """The name that the chart gives this image by default."""
    images = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    return f"{images['registry']}/{images[part]['repository']}:{version}"


def build(part: str, dockerfile: Path, tag: str, base: str | None = None, *arguments: str) -> str:
    """Builds operator, service or simulator, on what `BASE_IMAGE` or `base` say. Raises ProgramMissing."""
    on = _about(base or os.environ.get("BASE_IMAGE") or PYTHON)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        _copy_sources(context)
        shutil.copytree(_wheels(on, part), context / "wheels")
        docker("build", "-q", "-f", context / dockerfile, "-t", tag, "--build-arg", f"BASE_IMAGE={on.image}",
               "--build-arg", f"VERSION={tag.rpartition(':')[2]}", *arguments, context)  # fmt: skip
    return tag


def published() -> dict[str, str]:
    """Builds the two images that people pull: part -> tag. Raises ProgramMissing."""
    return {part: build(part, Path(part, "Dockerfile"), ours(part)) for part in ("operator", "service")}


def for_cluster() -> Images:
    """Builds or pulls what a cluster needs. Raises ProgramMissing."""
    say("Building the images (about 2 min on 2 cores, seconds where nothing has changed)")
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    redis, database = (values[it]["bundled"]["image"] for it in ("redis", "database"))
    simulator, base = "gitpulse-test/simulator:1", None
    if not _had(redis) or not _had(database):
        redis = base = _stand_in()
        database = "gitpulse-test/postgres:15"
        docker("build", "-q", "-t", database, "--build-arg", f"BASE_IMAGE={base}", CLUSTER / "postgres")
    build("simulator", Path("tests/cluster/simulator/Dockerfile"), simulator, base)
    return Images(**published(), simulator=simulator, redis=redis, database=database)


def _copy_sources(context: Path) -> None:
    """What git knows, as it is now: a build is not to depend on what else lies around."""
    listed = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")):
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    dashboard = context / "service/gitpulse_service/dashboard"  # what the builder may not reach either
    subprocess.run([sys.executable, dashboard / "npm/vendored.py", dashboard / "static/vendor"], check=True)


# --- bases -----------------------------------------------------------------------------------------------------------


def _about(image: str) -> Base:
    return Base(image, *json.loads(docker("run", "--rm", "--network=none", image, "python3", "-c", _ABOUT)))


def _had(image: str) -> bool:
    """Whether it is here, or comes when asked for."""
    for command in (("image", "inspect", image), ("pull", "-q", image)):
        try:
            docker(*command)
        except ProgramMissing:
            continue
        return True
    return False


def _stand_in() -> str:
    """A Debian root with the programs of those images that no registry gives."""
    try:
        docker("image", "inspect", STAND_IN)
    except ProgramMissing:
        say("No registry gives the images of Redis and PostgreSQL: making one from Debian's packages (about a minute)")
        with tempfile.TemporaryDirectory() as folder:
            made = subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={STOOD_IN}", "bookworm", folder],
                check=False,
                capture_output=True,
                text=True,
            )
            if made.returncode:
                raise ProgramMissing(f"debootstrap: {made.stdout[-2000:]}") from None
            with subprocess.Popen(
                [
                    "tar",
                    "-C",
                    folder,
                    *(f"--exclude=./{it}/*" for it in ("dev", "proc", "sys", "var/cache/apt")),
                    "-c",
                    ".",
                ],
                stdout=subprocess.PIPE,
            ) as tar:
                command = ["docker", "import", "--change", "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
                subprocess.run([*command, "-", STAND_IN], stdin=tar.stdout, check=True, stdout=subprocess.DEVNULL)
    return STAND_IN


# --- wheels ----------------------------------------------------------------------------------------------------------


def _wheels(base: Base, part: str) -> Path:
    """A folder with what locks/ names for this part and for building, as this base can load it."""
    locks = [ROOT / "locks" / f"{name}.txt" for name in ("build", part)]
    digest = hashlib.sha256(repr(base[1:]).encode() + b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:16]
    with built.locked(CACHE, "wheels"):
        if not (CACHE / digest).exists():
            with built.published(CACHE, digest) as folder:
                for lock in locks:
                    _download(base, lock, folder)
    return CACHE / digest


def _download(base: Base, lock: Path, folder: Path) -> None:
    platforms = [f"manylinux_2_{minor}_{base.machine}" for minor in GLIBC]
    platforms += [f"manylinux{name}_{base.machine}" for name in ("2014", "2010", "1")]
    asked = [f"--platform={it}" for it in platforms]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", base.python, "--dest", folder, *asked, *_pinned(base, lock)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ProgramMissing(f"the wheels of {lock.name} could not be had:\n{done.stderr.strip()}")


def _pinned(base: Base, lock: Path) -> Iterator[str]:
    """name==version of those that this base needs."""
    environment = {"python_full_version": base.python, "python_version": ".".join(base.python.split(".")[:2])}
    for line in lock.read_text().splitlines():
        found = re.match(r"([\w.-]+(?:\[[^]]*])?==[^ ;]+)(?: ; (.*?))? \\$", line)
        if found and (not found[2] or Marker(found[2]).evaluate(environment)):
            yield found[1]


if __name__ == "__main__":
    built.main(published, "The images could not be built: {}")
