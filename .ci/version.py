"""Holds the project to one version everywhere, and takes what the changelog says of it for the release's page."""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = {
    "the chart's version": ("charts/gitpulse/Chart.yaml", r"^version: (\S+)$"),
    "the chart's appVersion": ("charts/gitpulse/Chart.yaml", r"^appVersion: (\S+)$"),
    "the component's default for `version`": (
        "templates/deploy/template.yml",
        r"^    version:\n      description: .*\n      default: (\S+)$",
    ),
}


def versions() -> dict[str, str]:
    """Where a version stands -> which."""
    found = {"pyproject.toml": str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])}
    for what, (file, pattern) in PLACES.items():
        stands = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
        found[f"{what} ({file})"] = stands[1] if stands else "nowhere"
    return found


def notes(version: str) -> str:
    """What stands below `## 1.2.3` in the changelog, whatever follows on its line; nothing where there is none."""
    section = rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)"
    found = re.search(section, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="the tag that is released, v1.2.3")
    parser.add_argument("--notes", type=Path, help="file for what the changelog says; of Unreleased without a tag")
    arguments = parser.parse_args()
    found = versions()
    if arguments.tag:
        found["the tag"] = arguments.tag.removeprefix("v")
    if len({*found.values()}) > 1:
        told = "".join(f"\n  {version:10} {where}" for where, version in found.items())
        print(f"There must be one version, and there are several:{told}", file=sys.stderr)
        return 1
    version = found["pyproject.toml"]
    text = notes(version if arguments.tag else "Unreleased")
    if arguments.tag and not text:
        print(f"CHANGELOG.md has nothing below `## {version}`: rename `## Unreleased`", file=sys.stderr)
        return 1
    if arguments.notes:
        arguments.notes.write_text(text + "\n")
    print(version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
