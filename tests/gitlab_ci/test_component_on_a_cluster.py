"""The component's jobs, run for real before a real API server, with Helm, and in the end with the operator.

There are no nodes: GitPulse is installed and never runs, and only the operator in this process makes resources Ready.
The GitLab agent is what a job sees of it: a kubeconfig with a context of the agent's name. Charts come from a folder,
and once from a registry.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess

import pytest
import yaml

from harness.chart import CHART, ROOT, helm
from harness.cluster import Cluster, operator_account
from harness.gitlab_ci import DEFAULT_BRANCH, MERGE_REQUEST, Project, deploying
from harness.registry import PASSWORD, USER, registry_server

pytestmark = pytest.mark.cluster

AGENT = "team/infra:gitpulse"
WEBSITE = (ROOT / "examples/website.yaml").read_text()
CONNECTION = (ROOT / "examples/connection.yaml").read_text()
# The kinds are there already, and not of this release; no migration would ever run here.
VALUES = yaml.safe_dump({"crds": {"enabled": False}, "migration": {"enabled": False}})
RESOURCES = {"gitpulse/website.yaml": WEBSITE, "gitpulse/shared/connection.yaml": CONNECTION}


class Team:
    """A team with a namespace, a kubeconfig in a CI/CD variable, and a clone with the component and these files."""

    def __init__(self, plane, folder, inputs, files):
        self.plane, self.namespace = plane, inputs["namespace"]
        self.clone = deploying(folder, inputs, **files)
        self.variables = ["--variable", f"GITPULSE_KUBECONFIG={plane.kubeconfig}"]

    def merge_request(self):
        return self.clone.job("gitpulse-validate", *MERGE_REQUEST, *self.variables)

    def default_branch(self):
        return self.clone.job("gitpulse-deploy", *DEFAULT_BRANCH, *self.variables)

    def there(self, what):
        return self.plane.kubectl("get", what, "-n", self.namespace, "-o", "name").split()


@pytest.fixture
def team(control_plane, tmp_path):
    """Makes a team that applies resources alone and waits for nothing, unless these inputs say otherwise."""

    def made(files=RESOURCES, **inputs):
        namespace = inputs.pop("namespace", None) or control_plane.namespace("team")
        least = {"namespace": namespace, "resources": "gitpulse", "install": False, "wait": False}
        return Team(control_plane, tmp_path / f"team-{namespace}", least | inputs, files)

    return made


@pytest.fixture
def whole(team):
    """Makes a team that installs GitPulse too."""

    def made(files=RESOURCES, **inputs):
        chart = {"charts/gitpulse": CHART, "ci/values.yaml": VALUES}
        given = {"install": True, "chart": "charts/gitpulse", "values": "ci/values.yaml", **inputs}
        return team({**files, **chart}, **given)

    return made


def test_a_merge_request_shows_what_would_change_and_changes_nothing(whole):
    it = whole()
    done = it.merge_request()
    assert done.returncode == 0, done.stdout
    assert "gitpulse: the chart can be installed" in done.stdout
    assert "gitpulseproject.gitpulse.io/website created (server dry run)" in done.stdout
    assert "+  project: acme/website" in done.stdout
    assert "demo-token" not in done.stdout
    assert base64.b64encode(b"demo-token").decode() not in done.stdout
    assert it.there("gitpulse,deployments,secrets") == []


def test_the_default_branch_is_deployed_and_then_nothing_is_left_to_change(whole):
    it = whole()
    done = it.default_branch()
    assert done.returncode == 0, done.stdout
    made = {"gitpulseproject.gitpulse.io/website", "gitlabconnection.gitpulse.io/gitlab"}
    assert {*it.there("gitpulse")} == made, "of folders below too"
    assert "deployment.apps/gitpulse-operator" in it.there("deployments")
    secrets = json.loads(it.plane.kubectl("get", "secret", "gitpulse", "-n", it.namespace, "-o", "json"))["data"]

    again = it.merge_request()
    assert again.returncode == 0, again.stdout
    assert "\n+" not in again.stdout.replace("gitpulse-validate > ", "")
    for job in (done, again):
        for secret in secrets.values():
            assert secret not in job.stdout
            assert base64.b64decode(secret).decode() not in job.stdout


BROKEN = {
    "a typo": (WEBSITE.replace("project:", "projekt:"), 'unknown field "spec.projekt"'),
    "a wrong value": (WEBSITE + "  events: [Pusch]\n", 'Unsupported value: "Pusch"'),
    "both": (WEBSITE + "  group: acme\n", "must have exactly one of `project` and `group`"),
    "no YAML": ("kind: [GitPulseProject\n", "error parsing gitpulse/website.yaml"),
    "another namespace": (WEBSITE.replace("name: website", "name: website\n  namespace: kube-system"), "namespace"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_fails_both_jobs_and_says_why(team, what):
    text, why = BROKEN[what]
    it = team({"gitpulse/website.yaml": text})
    for done in (it.merge_request(), it.default_branch()):
        assert done.returncode != 0
        assert why in done.stdout
        assert "gitpulse: the cluster refuses resources in gitpulse, see above" in done.stdout
    assert it.there("gitpulse") == []


def test_wrong_values_fail_the_merge_request(whole):
    it = whole(values="wrong.yaml", files={**RESOURCES, "wrong.yaml": "receiver: {replica: 3}\n"})
    done = it.merge_request()
    assert done.returncode != 0
    assert "additional properties 'replica' not allowed" in done.stdout
    assert "gitpulse: the chart cannot be installed like this, see above" in done.stdout


def test_a_chart_that_does_not_come_to_run_fails_and_says_what_is_missing(whole):
    done = whole(wait=True, timeout="2s").default_branch()
    assert done.returncode != 0
    assert "resource Deployment/" in done.stdout
    assert "gitpulse: GitPulse was not installed, or did not run within 2s, see above" in done.stdout
    assert "gitpulseproject.gitpulse.io/website" not in done.stdout, "nothing is applied to what does not run"


def test_resources_that_are_not_ready_fail_and_say_what_they_are_waiting_for(team, control_plane):
    it = team(wait=True, timeout="2s")
    assert it.default_branch().returncode != 0
    conditions = [{"type": "Ready", "status": "False", "reason": "ProjectNotFound", "message": "There is none.",
                   "lastTransitionTime": "2026-11-26T12:00:00Z", "observedGeneration": 1}]  # fmt: skip
    patch = json.dumps({"status": {"conditions": conditions, "observedGeneration": 1}})
    place = ("-n", it.namespace, "gitpulseproject/website")
    control_plane.kubectl("patch", *place, "--subresource=status", "--type=merge", "-p", patch)
    done = it.default_branch()
    assert done.returncode != 0
    assert "gitpulse: not all resources were Ready within 2s, see above" in done.stdout
    assert "False    ProjectNotFound   There is none." in done.stdout


async def test_it_ends_when_the_operator_has_made_the_hooks(
    team, control_plane, simulator, redis_url, installation_key, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", str(operator_account(control_plane)))
    cluster = Cluster(control_plane, simulator, redis_url, installation_key)
    connection = CONNECTION.replace("http://127.0.0.1:8929", simulator.url)
    it = team({**RESOURCES, "gitpulse/shared/connection.yaml": connection},
              namespace=cluster.namespace, wait=True, timeout="30s")  # fmt: skip
    async with cluster.operator():
        done = await asyncio.to_thread(it.default_branch)
    assert done.returncode == 0, done.stdout
    assert "gitpulseproject.gitpulse.io/website condition met" in done.stdout
    assert len(simulator.website.hooks) == 1


# --- ways to the cluster ---------------------------------------------------------------------------------------------


def test_through_the_agent_that_is_named(team, control_plane, tmp_path):
    """As GitLab gives it: a context for each agent, and none that is current."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    (context,) = config["contexts"]
    nowhere = {"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}}
    config["clusters"].append(nowhere)
    config["contexts"] = [
        {"name": "team/infra:other", "context": {**context["context"], "cluster": "nowhere"}},
        {"name": AGENT, "context": context["context"]},
    ]
    config["current-context"] = ""
    given = tmp_path / "agents.yaml"
    given.write_text(json.dumps(config))

    it = team(agent=AGENT)
    it.variables = ["--variable", f"KUBECONFIG={given}"]
    done = it.default_branch()
    assert done.returncode == 0, done.stdout
    assert it.there("gitpulseproject") == ["gitpulseproject.gitpulse.io/website"]

    it = team(agent="team/infra:gitpuls")
    it.variables = ["--variable", f"KUBECONFIG={given}"]
    done = it.default_branch()
    assert done.returncode != 0
    line = "gitpulse: this project may not use the agent team/infra:gitpuls: name the project under ci_access"
    assert line in done.stdout
    assert AGENT in done.stdout, "it tells which there are"


def test_resources_alone_need_no_right_beyond_the_namespace(team, control_plane):
    namespace = control_plane.namespace("team")
    rights = [{"apiGroups": ["gitpulse.io"], "resources": ["*"], "verbs": ["get", "list", "watch", "create", "patch"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "ci"}, "rules": rights}
    binding = {
        **role,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ci"},
        "subjects": [{"kind": "ServiceAccount", "name": "ci", "namespace": namespace}],
    }
    del binding["rules"]
    it = team({"gitpulse/website.yaml": WEBSITE}, namespace=namespace)
    it.variables = [
        "--variable",
        f"GITPULSE_KUBECONFIG={control_plane.kubeconfig_for('ci', namespace, role, binding)}",
    ]
    for done in (it.merge_request(), it.default_branch(), it.merge_request()):
        assert done.returncode == 0, done.stdout
    assert it.there("gitpulseproject") == ["gitpulseproject.gitpulse.io/website"]


def test_the_first_deployment_brings_kinds_and_namespace(own_control_plane, tmp_path):
    own_control_plane.kubectl("delete", "-f", ROOT / "crds")
    inputs = {"namespace": "gitpulse-system", "resources": "gitpulse", "chart": "charts/gitpulse", "wait": False}
    it = Team(own_control_plane, tmp_path / "team", inputs, {**RESOURCES, "charts/gitpulse": CHART})
    done = it.merge_request()
    assert done.returncode == 0, done.stdout
    assert "gitpulse: this cluster does not know GitPulse's kinds yet, so the resources are not checked" in done.stdout
    done = it.default_branch()
    assert done.returncode == 0, done.stdout
    assert "gitpulseproject.gitpulse.io/website" in it.there("gitpulse")


def test_the_chart_comes_from_a_registry_with_the_jobs_token(whole, tmp_path):
    with registry_server(tmp_path) as registry:
        trust = {"SSL_CERT_FILE": str(registry.certificate)}
        environment = {**os.environ, **trust, "HOME": str(tmp_path)}
        name = f"oci://{registry.host}/team/app/charts"
        for command in (
            ["package", CHART, "-d", tmp_path],
            ["registry", "login", registry.host, "-u", USER, "-p", PASSWORD],
            ["push", tmp_path / "gitpulse-0.1.0.tgz", name],
        ):
            subprocess.run([helm(), *command], check=True, capture_output=True, env=environment)
        it = whole(chart=f"{name}/gitpulse", version="0.1.0")
        it.clone = Project(it.clone.folder, it.clone.path, trust)
        it.variables += [part for key, value in registry.variables.items() for part in ("--variable", f"{key}={value}")]
        done = it.merge_request()
        assert done.returncode == 0, done.stdout
        assert "Login Succeeded" in done.stdout
        assert PASSWORD not in done.stdout

        it = whole(chart=f"{name}/gitpulse", version="0.1.1")
        it.clone = Project(it.clone.folder, it.clone.path, trust)
        it.variables += [part for key, value in registry.variables.items() for part in ("--variable", f"{key}={value}")]
        assert "gitpulse: the chart cannot be installed like this, see above" in it.merge_request().stdout
