"""The command against a real Kubernetes API, with no more rights than docs/cli.md asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gitpulse_operator.adapters import kube
from harness.command import Command
from harness.controlplane import ROOT, ControlPlane
from harness.processes import free_port, wait_until
from harness.receiver import serving, settings

pytestmark = pytest.mark.cluster

GROUP = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running_operator(operator, port) -> Iterator[None]:
    """With a receiver to which GitLab delivers."""
    with (
        serving(settings(operator.redis_url, installation_key=bytes(range(32))), port=port),
        operator.running(f"http://127.0.0.1:{port}", GITPULSE_PROOF_PATIENCE="0", GITPULSE_BACKFILL_DAYS="0"),
    ):
        yield


def account(plane: ControlPlane, namespace: str, name: str, *rules: object) -> Path:
    """The kubeconfig of somebody who may do this, in one namespace."""
    role = {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": {"name": name}, "rules": list(rules)}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    binding = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "subjects": [subject],
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
    }
    return plane.kubeconfig_for(name, namespace, role, binding)


def documented() -> list[object]:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL)
    return list(yaml.safe_load(text)["rules"])


@pytest.fixture
def gitpulse(capsys, monkeypatch, place) -> Command:
    """As somebody with the rights of the page, in this place alone."""
    monkeypatch.setenv("KUBECONFIG", str(account(place.plane, place.namespace, "somebody", *documented())))
    monkeypatch.delenv("GITPULSE_REDIS_URL", raising=False)
    return Command(capsys, monkeypatch)


@pytest.fixture
def ready(place, running_operator):
    place.simulator.push()
    place.apply_examples()
    place.wait("gitpulseproject/website")
    return place


def test_all_is_shown_and_done_with_the_documented_rights(gitpulse, ready, operator, monkeypatch):
    here = ("-n", ready.namespace)
    ready.wait("gitlabconnection/gitlab")
    ready.wait("gitpulseproject/api")
    (website,) = gitpulse.json("projects", "website")
    assert website["project"] == f"{ready.namespace}/website", "the kubeconfig's namespace"
    assert website["ready"] == "True"
    assert {row["project"] for row in gitpulse.json("projects", *here)} == {
        f"{ready.namespace}/website",
        f"{ready.namespace}/api",
    }
    whole = gitpulse.json("status", *here)
    assert whole["projects"]["total"] == 2
    assert whole["connections"][0]["version"] == ready.simulator.world.instance.version

    (hook,) = ready.hooks("website")
    monkeypatch.setenv("GITPULSE_REDIS_URL", operator.redis_url)
    done = gitpulse("hooks", "test", "website", *here)
    assert done.code == 0, done
    assert "accepted, by secret generation 1" in done.out
    done = gitpulse("hooks", "rotate", "website", "--wait", "--timeout", "60", *here)
    assert (done.code, done.out) == (0, ""), done.err
    assert "generation 2 is in use (Proven)" in done.err
    done = gitpulse("hooks", "revive", f"{ready.namespace}/website", "--wait", "--timeout", "60")
    assert done.code == 0, done.err
    assert "Receivers have taken authentic deliveries" in done.err
    shown = gitpulse.json("hooks", "show", "website", *here)
    assert (shown["hook"], shown["secret"]["generation"]) == (hook.id, 2)
    assert shown["deliveries"]
    done = gitpulse("hooks", "rotate", "--connection", "gitlab", *here)
    assert done.code == 0, done.err

    def answered() -> bool:
        return "lastHandledConnectionRotateAt" in ready.get("gitpulseproject/api")["status"]

    wait_until(answered, what="the connection's wish to be answered")


def test_a_right_that_is_lacking_is_named(gitpulse, ready, monkeypatch):
    done = gitpulse("projects")
    assert (done.code, done.out) == (1, "")
    assert 'cannot list resource "gitpulseprojects" in API group "gitpulse.io" at the cluster scope' in done.err
    assert "name it: -n NAME" in done.err
    assert done.err.count("\n") == 1

    monkeypatch.setenv("GITPULSE_WATCH_NAMESPACES", ready.namespace)
    assert len(gitpulse.json("projects")) == 2, "the operator's own environment says which it may see"
    monkeypatch.delenv("GITPULSE_WATCH_NAMESPACES")
    reads = {"apiGroups": ["gitpulse.io"], "resources": ["*"], "verbs": ["get", "list"]}
    monkeypatch.setenv("KUBECONFIG", str(account(ready.plane, ready.namespace, "reader", reads)))
    here = ("-n", ready.namespace)
    done = gitpulse("hooks", "rotate", "website", *here)
    assert done.code == 1
    assert 'cannot patch resource "gitpulseprojects"' in done.err
    done = gitpulse("hooks", "show", "website", *here)
    assert done.code == 0
    assert (
        'GitLab\'s log of it cannot be read: the Kubernetes API refuses: 403 Forbidden: secrets "gitlab-token"'
        in done.err
    )


def test_a_wrong_name_or_context_is_said(gitpulse, place):
    done = gitpulse("hooks", "show", "website")
    assert (done.code, done.err) == (
        2, f"gitpulse: there is no GitPulseProject {place.namespace}/website; there is none at all\n",
    )  # fmt: skip
    done = gitpulse("status", "--context", "elsewhere")
    assert done.code == 1
    assert "elsewhere" in done.err
    assert gitpulse("projects", "-n", place.namespace, "--context", "tests").code == 0


def test_kinds_that_are_not_installed_are_said(gitpulse, place, monkeypatch):
    monkeypatch.setattr(kube, "VERSION", "v1beta9")
    monkeypatch.setenv("KUBECONFIG", str(place.plane.kubeconfig))
    for command in (["projects"], ["status"], ["hooks", "show", "website"]):
        done = gitpulse(*command)
        assert done.code == 1
        assert "this cluster does not know the kind Git" in done.err
        assert "install the chart, or: kubectl apply -f crds/" in done.err


def test_a_cluster_that_is_away_is_named(gitpulse, place, tmp_path, monkeypatch):
    config = yaml.safe_load(place.plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = (url := f"https://127.0.0.1:{free_port()}")
    (tmp_path / "away").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "away"))
    done = gitpulse("status")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"gitpulse: {url}: the Kubernetes API cannot be reached")
