"""Writes charts/gitpulse/README.md from the comments of values.yaml.

A test fails when the page is not what this prints, and when a value has no comment.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "charts/gitpulse"
PAGE = CHART / "README.md"
INTRODUCTION = """\
# The chart gitpulse

Installs all of GitPulse: operator, receivers, workers, the kinds, their rights and policies.
Made from `values.yaml` by `make docs`.

```sh
helm install gitpulse charts/gitpulse -n gitpulse-system --create-namespace \\
  --set ingress.enabled=true --set 'ingress.hosts={hooks.example.com}'
helm test gitpulse -n gitpulse-system
```

Without `redis` and `database` it brings its own, one pod each with a volume: for trying out. The Secret `gitpulse`
(installation key and passwords) and the kinds stay when the release is uninstalled, so that a later install finds the
same hooks; volumes stay too. To be rid of all, delete the `GitPulseProject`s first, while the operator runs and can
remove their hooks, then the release, the Secret, the volumes and the kinds. Where the kinds were applied before by
hand, install with `--take-ownership`.

| value | default | meaning |
|---|---|---|
"""


def comments(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each key's path, and what the comment above it says after `# --`; empty: nothing."""
    path: list[tuple[int, str]] = []
    said: list[str] = []
    for line in lines:
        text = line.strip()
        if text.startswith("# --"):
            said = [text[4:].strip()]
        elif text.startswith("#") and said:
            said.append(text[1:].strip())
        elif found := re.match(r"( *)([A-Za-z]\w*):", line):
            path = [it for it in path if it[0] < len(found[1])] + [(len(found[1]), found[2])]
            yield ".".join(name for _, name in path), " ".join(said)
            said = []
        else:
            said = []


def leaves(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is no mapping of others, by its path."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name, value


def table() -> dict[str, tuple[Any, str]]:
    """Each value that has a comment: its default and meaning; those without one, if nothing above has one, too."""
    text = (CHART / "values.yaml").read_text()
    values, said = yaml.safe_load(text), dict(comments(text.splitlines()))
    found: dict[str, tuple[Any, str]] = {}
    for path, _ in leaves(values):
        parts = path.split(".")
        above = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        documented = next((it for it in above if said.get(it)), path)
        default: Any = values
        for name in documented.split("."):
            default = default[name]
        found[documented] = default, said.get(documented, "")
    return found


def page() -> str:
    """The whole page."""
    rows = (f"| `{path}` | `{json.dumps(value)}` | {text} |\n" for path, (value, text) in table().items())
    return INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stderr.write(f"wrote {PAGE.name}\n")
