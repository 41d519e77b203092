"""The project's own pipeline: GitLab's schema takes it, each kind of pipeline has its jobs, and quick ones are run.

gitlab-ci-local has no `workflow` in its list, no services, no images in the shell, no ID tokens and no release: of the
jobs that need these (`images`, `kind`, `sign`, `release`) it is checked that they are there when they must be.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from harness.chart import helm
from harness.gitlab_ci import BRANCH, DEFAULT_BRANCH, MERGE_REQUEST, ROOT, Project, tag, validate
from harness.registry import registry_server

PIPELINE = ROOT / ".gitlab-ci.yml"
VERSION = "0.1.0"
ALWAYS = {
    *("check", "version", "audit", "test: [3.11.14]", "test: [3.13.9]", "demo", "docs", "chart", "package", "kind"),
    *("images: [operator]", "images: [service]"),
}
RELEASED = (
    "# Changelog\n\n## Unreleased\n\n- Later.\n\n## 0.1.0 (2026-12-01)\n\n- All of it.\n\n## 0.0.9\n\n- Before.\n"
)
FILES = (".gitlab-ci.yml", ".ci", "charts", "pyproject.toml", "templates", "CHANGELOG.md")


@pytest.fixture
def project(tmp_path):
    """What the pipeline's quick jobs read of this repository."""
    folder = tmp_path / "clone"
    folder.mkdir()
    made = Project(folder, path=helm().parent)
    made.commit({name: ROOT / name for name in FILES})
    return made


@pytest.fixture
def released(project):
    """The same, with a changelog of the version that is about to be tagged."""
    project.commit({"CHANGELOG.md": RELEASED})
    return project


def test_gitlabs_schema_takes_it():
    assert validate(PIPELINE.read_text()) == ""


def test_what_gitlabs_schema_would_say_is_noticed():
    broken = PIPELINE.read_text().replace("\nimages:\n", "\nimage:\n")
    assert "$.image" in validate(broken), "a keyword is no name for a job"


@pytest.mark.parametrize(
    ("pipeline", "jobs"),
    [
        (MERGE_REQUEST, ALWAYS),
        (BRANCH, ALWAYS),
        (DEFAULT_BRANCH, ALWAYS | {"pages"}),
        (tag("v0.1.0"), ALWAYS | {"push-chart", "release"}),
        ((*tag("v0.1.0"), "--variable", "CI_SERVER_HOST=gitlab.com"), ALWAYS | {"push-chart", "sign", "release"}),
    ],
    ids=["merge request", "branch", "default branch", "tag", "tag on gitlab.com"],
)
def test_each_pipeline_has_its_jobs(project, pipeline, jobs):
    assert project.jobs(*pipeline) == jobs
    chain = project.run("--validate-dependency-chain", *pipeline)
    assert chain.returncode == 0, chain.stderr


@pytest.mark.parametrize(
    ("pipeline", "there"),
    [
        (MERGE_REQUEST, True),
        (BRANCH, True),
        ((*BRANCH, "--variable", "CI_OPEN_MERGE_REQUESTS=team/app!1"), False),
        (tag("v1.20.3"), True),
        (tag("v1.2"), False),
        (tag("v1.2.3-rc1"), False),
        (tag("nightly"), False),
    ],
    ids=["merge request", "branch", "branch of a merge request", "version", "half a version", "candidate", "other tag"],
)
def test_there_is_one_pipeline_where_one_is_wanted(project, pipeline, there):
    # The rules of `workflow` as those of a job, for gitlab-ci-local lists whatever they say.
    rules = yaml.safe_load(PIPELINE.read_text())["workflow"]["rules"]
    project.commit({".gitlab-ci.yml": yaml.safe_dump({"it": {"script": ["true"], "rules": rules}, "else": {
        "script": ["true"], "rules": [{"when": "always"}]}})})  # fmt: skip
    assert ("it" in project.jobs(*pipeline)) is there


def jobs_of(preview):
    return {name: it for name, it in preview.items() if isinstance(it, dict) and "script" in it}


def test_only_a_release_is_not_interruptible_and_no_image_floats(project):
    preview = project.preview(*tag("v0.1.0"), "--variable", "CI_SERVER_HOST=gitlab.com")
    jobs = jobs_of(preview)
    known = {name: str(value) for name, value in preview["variables"].items()}
    used = [it["image"]["name"] for it in jobs.values()] + [it["name"] for it in jobs["kind"]["services"]]
    for image in used:
        name = re.sub(r"\$(\w+)", lambda found: known[found[1]], image)
        assert re.search(r":v?\d+\.\d+", name), name
    waiting = {name for name, it in jobs.items() if not it.get("interruptible", True)}
    assert waiting == {"push-chart", "sign", "release"}


def test_scripts_are_sh(project):
    for name, job in jobs_of(project.preview()).items():
        done = subprocess.run(["sh", "-n"], input="\n".join(job["script"]), text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


# --- jobs, run for real ----------------------------------------------------------------------------------------------


def test_the_version_is_one(project):
    done = project.job("version", *MERGE_REQUEST)
    assert done.returncode == 0, done.stdout
    assert (project.folder / "release-notes.md").read_text() in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"', "0.2.0      pyproject.toml"),
        ("charts/gitpulse/Chart.yaml", "\nversion: 0.1.0", "\nversion: 0.1.1", "0.1.1      the chart's version"),
        ("charts/gitpulse/Chart.yaml", "appVersion: 0.1.0", "appVersion: 1", "1          the chart's appVersion"),
        ("templates/deploy/template.yml", "default: 0.1.0", "default: 0.0.9", "0.0.9      the component's default"),
    ],
)
def test_two_versions_are_refused(project, file, before, after, told):
    text = (ROOT / file).read_text()
    assert text.count(before) == 1
    project.commit({file: text.replace(before, after)})
    done = project.job("version", *MERGE_REQUEST)
    assert done.returncode == 1
    assert told in done.stdout


def test_a_tag_is_of_that_version(released):
    done = released.job("version", *tag("v0.2.0"))
    assert done.returncode == 1
    assert "0.2.0      the tag" in done.stdout


def test_a_release_tells_what_the_changelog_says_of_it(released):
    assert released.job("version", *tag("v0.1.0")).returncode == 0
    assert (released.folder / "release-notes.md").read_text() == "- All of it.\n"


def test_nothing_is_released_of_which_the_changelog_is_silent(released):
    released.commit({"CHANGELOG.md": RELEASED.replace("0.1.0", "0.0.1")})
    done = released.job("version", *tag("v0.1.0"))
    assert done.returncode == 1
    assert "CHANGELOG.md has nothing below `## 0.1.0`: rename `## Unreleased`" in done.stdout


def test_the_chart_is_packaged_and_pushed(released, tmp_path):
    assert released.job("package", *tag("v0.1.0")).returncode == 0
    with tarfile.open(released.folder / "dist/gitpulse-0.1.0.tgz") as packed:
        assert "gitpulse/files/crds/gitpulseprojects.yaml" in packed.getnames()
    with registry_server(tmp_path) as registry:
        project = Project(released.folder, released.path, {"SSL_CERT_FILE": str(registry.certificate)})
        variables = [part for name, value in registry.variables.items() for part in ("--variable", f"{name}={value}")]
        done = project.job("push-chart", *tag("v0.1.0"), *variables)
        assert done.returncode == 0, done.stdout
        manifest = json.loads(registry.content["team/app/charts/gitpulse/manifests/0.1.0"])
        assert manifest["annotations"]["org.opencontainers.image.version"] == VERSION
        digest = (project.folder / "chart.digest").read_text().strip()
        assert f"team/app/charts/gitpulse/manifests/{digest}" in registry.content, "what is signed is what was pushed"
        assert registry.variables["CI_REGISTRY_PASSWORD"] not in done.stdout

        wrong = ["--variable", "CI_REGISTRY_PASSWORD=wrong"]
        (project.folder / "chart.digest").unlink()
        shutil.rmtree(project.folder.parent / "clone.home")
        assert project.job("push-chart", *tag("v0.1.0"), *variables, *wrong).returncode != 0


def test_packages_names_what_tests_need():
    """`.ci/run` and the pipeline install the same; a program that is missing fails the tests in both."""
    assert ".ci/packages" in (ROOT / ".ci/run").read_text()
    assert Path(ROOT / ".ci/packages").stat().st_mode & 0o111
