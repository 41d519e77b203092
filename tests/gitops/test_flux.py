"""Flux's health check of our projects, asked of the engine that Flux has too: the API server's CEL."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from harness.chart import ROOT
from harness.processes import wait_until

pytestmark = pytest.mark.cluster

FILE = ROOT / "examples/gitops/flux/kustomizations.yaml"
PROJECTS = next(it for it in yaml.safe_load_all(FILE.read_text()) if it["metadata"]["name"] == "gitpulse-projects")


def asking(name, check):
    """A policy that warns of each expression of the check that is true for a status."""
    questions = {outcome: re.sub(r"(?<![\w.])status\.", "object.status.", check[outcome]) for outcome in OUTCOMES}
    group, version = check["apiVersion"].split("/")
    what = {"apiGroups": [group], "apiVersions": [version], "resources": ["gitpulseprojects/status"]}
    common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    policy = {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
            "resourceRules": [{**what, "operations": ["UPDATE"]}],
        },
        "validations": [{"expression": f"!({it})", "message": outcome} for outcome, it in questions.items()],
    }
    return [
        {**common, "kind": "ValidatingAdmissionPolicy", "spec": policy},
        {
            **common,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": name, "validationActions": ["Warn"]},
        },
    ]


OUTCOMES = ("failed", "current")


@pytest.fixture
def outcome(control_plane):
    """What Flux makes of a project, whose generation the operator has seen."""
    namespace = control_plane.namespace("flux")
    [check] = PROJECTS["spec"]["healthCheckExprs"]
    objects = asking(namespace, check)
    control_plane.apply(*objects)

    def ask(resource):
        name = resource["metadata"]["name"]
        made = {**resource, "metadata": {"name": name}}
        control_plane.apply(made, namespace=namespace)
        patch = json.dumps({"status": resource["status"]})
        command = (
            "patch",
            "gitpulseproject",
            name,
            "-n",
            namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            patch,
        )
        done = control_plane.try_kubectl(*command)
        assert done.returncode == 0, done.stderr
        return set(re.findall(rf"binding '{namespace}': (\w+)", done.stderr)) or {"in progress"}

    yield ask
    for it in objects:
        control_plane.kubectl("delete", it["kind"], namespace)


async def test_projects_are_waited_for_until_they_are_as_they_should_be(outcome, lived):
    wait_until(lambda: outcome(lived["ready"]) == {"current"}, what="the policy in force")
    states = ("ready", "suspended", "observed", "away", "wrong")
    assert {name: outcome(lived[name]) for name in states} == {
        "ready": {"current"},
        "suspended": {"current"},
        "observed": {"current"},
        "away": {"in progress"},
        "wrong": {"failed"},
    }


def test_the_projects_come_after_the_kinds():
    assert PROJECTS["spec"]["dependsOn"] == [{"name": "gitpulse"}]
