"""Files of packages from npm, as a package-lock.json pins them, without Node.

`package.json` names under `vendored` which files are taken, and what they are called here. What is there is not fetched
again: a file beside them says of which lock they are. Run as a program, or by a build (hatch_build.py), it fills the
dashboard's static/vendor.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
import tarfile
import urllib.request
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REGISTRY = "https://registry.npmjs.org"
"""Where npm itself looks unless it is told of another; locks name none, so that they hold for any."""


def fill(target: Path, pinned: Path = HERE) -> None:
    """Puts the files of `pinned`/package.json into the folder `target`. Raises RuntimeError saying what to do."""
    package, lock = (pinned / name for name in ("package.json", "package-lock.json"))
    wanted: dict[str, str] = json.loads(package.read_bytes())["vendored"]
    digest = hashlib.sha256(package.read_bytes() + lock.read_bytes()).hexdigest()
    marker = target / ".lock"
    if marker.is_file() and marker.read_text() == digest:
        return
    target.mkdir(parents=True, exist_ok=True)
    locked = json.loads(lock.read_bytes())["packages"]
    for package_name, files in groupby(sorted(wanted), _package):
        content = _archive(package_name, locked[f"node_modules/{package_name}"])
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for path in files:
                file = archive.extractfile(f"package{path.removeprefix(package_name)}")
                assert file
                (target / wanted[path]).write_bytes(file.read())
    marker.write_text(digest)  # last: what an interrupted run left is fetched again


def _package(path: str) -> str:
    """`chart.js`, or `@kurkle/color`, whose file it is."""
    return "/".join(path.split("/")[: 2 if path.startswith("@") else 1])


def _archive(name: str, locked: dict[str, Any]) -> bytes:
    """The package, as it was when it was locked."""
    chosen = (it for name, it in os.environ.items() if name.lower() == "npm_config_registry")
    url = f"{next(chosen, REGISTRY).rstrip('/')}/{name}/-/{name.rpartition('/')[2]}-{locked['version']}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 -- https, as the lock has it
            content: bytes = answer.read()
    except OSError as error:
        raise RuntimeError(
            f"{url} cannot be had: {error}. The dashboard's charts need it once: build where npm's registry can be"
            " reached, or name one that can in npm_config_registry"
        ) from None
    kind, _, digest = str(locked["integrity"]).partition("-")
    if kind != "sha512" or hashlib.sha512(content).digest() != base64.b64decode(digest):
        raise RuntimeError(f"{url} is not what package-lock.json pins; somebody has changed it")
    return content


if __name__ == "__main__":
    fill(*(Path(it) for it in sys.argv[1:] or [str(HERE.parent / "static/vendor")]))
