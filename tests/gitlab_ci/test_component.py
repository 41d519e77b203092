"""The component without a cluster: GitLab's schema, its inputs, its rules, and that no input becomes a command.

gitlab-ci-local holds inputs to type, options and regex as GitLab does; one that is not declared it lets pass, which
GitLab does not.
"""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from harness.gitlab_ci import (
    BRANCH,
    COMPONENT,
    DEFAULT_BRANCH,
    MERGE_REQUEST,
    ROOT,
    component,
    deploying,
    filled,
    tag,
    validate,
)

SPEC, BODY = component()
INPUTS = SPEC["spec"]["inputs"]
NASTY = "a'b\"; touch pwned; $(touch pwned) `touch pwned` #"
TEAM = {"resources": "gitpulse", "install": False}


@pytest.fixture
def team(tmp_path):
    """How a team's clone that includes the component is made."""
    return lambda *includes, **files: deploying(tmp_path / "team", *includes, **files)


def test_gitlabs_schema_takes_header_and_body():
    assert validate(yaml.safe_dump(SPEC)) == ""
    assert validate(filled()) == ""
    every = {name: about["options"][-1] for name, about in INPUTS.items() if "options" in about}
    assert validate(filled(**every, agent="a/b:c", resources="r", values="v.yaml", install=False, wait=False)) == ""


def test_the_schema_notices_what_is_wrong_in_either():
    assert "inputs" in validate(yaml.safe_dump(SPEC).replace("type: boolean", "type: bool", 1))
    assert "when" in validate(filled(when="sometimes"))


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_is_described_and_used_and_has_a_good_default(name):
    about = INPUTS[name]
    assert about.keys() <= {"description", "type", "default", "options", "regex"}
    assert about["description"].endswith(".")
    assert f"$[[ inputs.{name} ]]" in BODY
    if "regex" in about:
        assert re.search(about["regex"], about["default"])
    assert about["default"] in about.get("options", [about["default"]])


def test_no_input_is_used_that_is_not_declared_and_none_in_a_script():
    assert set(re.findall(r"\$\[\[ inputs\.(\w+) ]]", BODY)) == set(INPUTS)
    for job in yaml.safe_load(BODY).values():
        assert "$[[" not in "".join(job.get("script", []) + job.get("before_script", []))


def test_scripts_are_sh():
    jobs = yaml.safe_load(filled())
    before = jobs[".gitpulse"]["before_script"]
    for name in ("gitpulse-validate", "gitpulse-deploy"):
        script = "\n".join(before + jobs[name]["script"])
        done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_the_page_tells_of_each_input():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", (ROOT / "docs/gitlab-ci.md").read_text(), re.MULTILINE)
    shown = {name: (default.strip("`"), text) for name, default, text in rows}

    def plain(default):
        return str(default).lower() if isinstance(default, bool) else default

    assert shown == {name: (plain(about["default"]), about["description"]) for name, about in INPUTS.items()}


# --- which jobs there are --------------------------------------------------------------------------------------------


def test_merge_requests_are_checked_and_the_default_branch_is_deployed(team):
    project = team(TEAM)
    assert project.jobs(*MERGE_REQUEST) == {"gitpulse-validate"}
    assert project.jobs(*DEFAULT_BRANCH) == {"gitpulse-deploy"}
    assert project.jobs(*BRANCH) == project.jobs(*tag("v1.0.0")) == set()


def test_merge_requests_need_not_be_checked(team):
    assert team({**TEAM, "dry_run": False}).jobs(*MERGE_REQUEST) == set()


def test_one_pipeline_deploys_to_two_clusters(team):
    project = team({**TEAM, "prefix": "blue", "environment": "staging"}, {**TEAM, "prefix": "green", "when": "manual"})
    assert project.jobs(*DEFAULT_BRANCH) == {"blue-deploy", "green-deploy"}
    made = project.preview()
    assert {made[it]["environment"]["name"] for it in ("blue-deploy", "green-deploy")} == {"staging", "production"}
    assert made["blue-deploy"]["resource_group"] == "gitpulse-staging"
    assert made["blue-deploy"]["rules"][0]["when"] == "on_success"
    assert made["green-deploy"]["rules"][0]["when"] == "manual"


@pytest.mark.parametrize(
    "inputs",
    [
        {"prefix": "Bad Name"},
        {"namespace": "a;b"},
        {"release": "$(x)"},
        {"version": "latest"},
        {"timeout": "soon"},
        {"timeout": "0s"},
        {"kubeconfig": "A B"},
        {"agent": "no-project"},
        {"when": "never"},
        {"install": "maybe"},
    ],
    ids=str,
)
def test_a_wrong_input_makes_no_pipeline(team, inputs):
    done = team({**TEAM, **inputs}).run("--list", *DEFAULT_BRANCH)
    assert done.returncode != 0
    assert f"`{next(iter(inputs))}` input:" in done.stderr


# --- jobs, run for real ----------------------------------------------------------------------------------------------


def told(done):
    """The lines in which a job says why it fails."""
    assert done.returncode != 0, done.stdout
    return set(re.findall(r"> gitpulse: (.*)$", done.stdout, re.MULTILINE))


@pytest.mark.parametrize(("job", "pipeline"), [("validate", MERGE_REQUEST), ("deploy", DEFAULT_BRANCH)])
def test_without_a_cluster_it_says_how_to_name_one(team, job, pipeline):
    (line,) = told(team({**TEAM, "kubeconfig": "MY_CLUSTER"}).job(f"gitpulse-{job}", *pipeline))
    assert line.startswith(
        "which cluster? Set the input 'agent' to group/project:name, or make a CI/CD variable MY_CLUSTER"
    )


def test_a_kubeconfig_is_a_file_and_never_told(team):
    done = team(TEAM).job("gitpulse-deploy", *DEFAULT_BRANCH, "--variable", "GITPULSE_KUBECONFIG=token: s3cret")
    assert told(done) == {"the CI/CD variable GITPULSE_KUBECONFIG must be of type File"}
    assert "s3cret" not in done.stdout


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ({"resources": "nowhere"}, "there is no folder nowhere in this repository: correct the input 'resources'"),
        ({"values": "no.yaml"}, "there is no file no.yaml in this repository: correct the input 'values'"),
        ({"resources": ""}, "there is nothing to do: set the input 'resources', or 'install' to true"),
        ({"resources": NASTY}, f"there is no folder {NASTY} in this repository: correct the input 'resources'"),
        ({"values": NASTY}, f"there is no file {NASTY} in this repository: correct the input 'values'"),
    ],
    ids=["no folder", "no file", "nothing", "a command as folder", "a command as file"],
)
def test_what_is_not_there_is_told_and_nothing_runs(team, tmp_path, inputs, line):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    project = team({**TEAM, **inputs})
    done = project.job("gitpulse-deploy", *DEFAULT_BRANCH, "--variable", f"GITPULSE_KUBECONFIG={kubeconfig}")
    assert told(done) == {line}
    assert not list(tmp_path.rglob("pwned"))


def test_the_component_is_where_gitlab_looks_for_it():
    assert COMPONENT.relative_to(ROOT).as_posix() == "templates/deploy/template.yml"
