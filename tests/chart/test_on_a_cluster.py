"""The chart before a real API server, which takes every variant; and Helm installs it, upgrades and removes it.

There are no nodes here: nothing runs. The kinds of others (PodMonitor, HTTPRoute) are known to the server by their own
schemas.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess

import pytest
import yaml

from harness.chart import CHART, ROOT, helm, render

pytestmark = pytest.mark.cluster

VARIANTS = {
    "defaults": {},
    "brought": {
        "redis": {"urlSecret": {"name": "redis"}},
        "database": {"url": "postgresql://u:p@db/x"},
        "installationKey": {"existingSecret": "key"},
        "webhookSecret": {"existingSecret": "hook"},
        "images": {"pullSecrets": ["registry"]},
        "migration": {"enabled": False},
    },
    "scaled": {
        part: {
            "autoscaling": {"enabled": True, "metrics": [{"type": "External", "external": {
                "metric": {"name": "backlog"}, "target": {"type": "Value", "value": "60"}}}]},
            "priorityClassName": "system-cluster-critical",
        }
        for part in ("receiver", "worker")
    },
    "exposed": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["a.example"],
            "tls": [{"secretName": "tls", "hosts": ["a.example"]}],
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "25m"},
        },
        "receiver": {"service": {"type": "LoadBalancer", "annotations": {"note": "z"}}},
        "metrics": {it: {"enabled": True, "labels": {"release": "x"}} for it in ("serviceMonitor", "podMonitor")},
        "alerts": {"prometheusRule": {"enabled": True, "labels": {"release": "x"}}},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "x"}], "hosts": ["a.example"]},
    },
    "some namespaces": {"watchNamespaces": ["default", "kube-public"], "operator": {"replicas": 2}},
    "without volumes": {
        **{it: {"bundled": {"persistence": {"enabled": False}}} for it in ("redis", "database")},
        "networkPolicy": {"enabled": False},
        "crds": {"enabled": False},
    },
    "extended": {
        part: {
            "extraEnv": [{"name": "A", "value": "b"}],
            "extraEnvFrom": [{"configMapRef": {"name": "c"}}],
            "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
            "podLabels": {"team": "x"},
            "podAnnotations": {"note": "z"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}]}},
            "serviceAccount": {"name": "mine-" + part, "annotations": {"cloud": "role"}},
        }
        for part in ("operator", "receiver", "worker")
    },
}  # fmt: skip


@pytest.fixture
def restricted(control_plane):
    namespace = control_plane.namespace("chart")
    control_plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_takes_it(others, restricted, variant):
    resources = render(VARIANTS[variant], namespace=restricted)
    others.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(
        [it for it in resources if it["kind"] != "CustomResourceDefinition"]))  # fmt: skip
    # What makes pods is only warned of; so the pods themselves.
    made = [it["spec"] for it in resources if "template" in it.get("spec", {})]
    for number, maker in enumerate(made):
        metadata, spec = maker["template"]["metadata"], maker["template"]["spec"]
        for absent in ("serviceAccountName", "priorityClassName"):  # nobody makes what they need here
            spec.pop(absent, None)
        spec["volumes"] += [
            {"name": it["metadata"]["name"], "emptyDir": {}} for it in maker.get("volumeClaimTemplates", ())
        ]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "name": f"it-{number}"}, "spec": spec}
        others.kubectl("create", "--dry-run=server", "-n", restricted, "-f", "-", stdin=yaml.safe_dump(pod))
    assert len(made) >= 3


class Helm:
    """Helm, for one release."""

    def __init__(self, plane, namespace):
        self.plane, self.namespace = plane, namespace

    def __call__(self, *arguments):
        command = [helm(), "--kubeconfig", self.plane.kubeconfig, "-n", self.namespace, *arguments]
        home = str(self.plane.folder)
        done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "HOME": home})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def secret(self, name="gitpulse"):
        found = json.loads(self.plane.kubectl("get", "secret", name, "-n", self.namespace, "-ojson"))
        return {name: base64.b64decode(value).decode() for name, value in found["data"].items()}


def test_helm_installs_upgrades_and_leaves_what_must_stay(control_plane, restricted):
    run = Helm(control_plane, restricted)
    # The kinds are there already, and not of this release.
    here = ("gitpulse", CHART, "--wait=hookOnly", "--no-hooks", "--take-ownership")
    notes = run("install", *here)
    assert f"kubectl -n {restricted} get pods" in notes
    assert "The bundled redis is for trying out" in notes
    assert "another port than 443, 80 is not reached" in notes
    first = run.secret()
    assert len(base64.b64decode(first["installation-key"])) == 32
    assert len(first["redis-password"]) == len(first["database-password"]) == 32
    assert f"requirepass {first['redis-password']}\n" in run.secret("gitpulse-redis")["redis.conf"]

    run("upgrade", *here, "--set", "receiver.replicas=3")
    assert run.secret() == first
    run("uninstall", "gitpulse", "--no-hooks")
    assert run.secret() == first
    kinds = control_plane.kubectl("get", "crd", "-o", "name").split()
    assert "customresourcedefinition.apiextensions.k8s.io/gitpulseprojects.gitpulse.io" in kinds
    run("install", *here)
    assert run.secret() == first
    run("uninstall", "gitpulse", "--no-hooks")
    assert control_plane.kubectl("get", "deployments,statefulsets,services", "-n", restricted, "-o", "name") == ""


def test_the_examples_are_taken_where_the_chart_was_installed(control_plane, restricted):
    control_plane.kubectl("apply", "--dry-run=server", "-n", restricted, "-f", ROOT / "examples", "--validate=strict")
