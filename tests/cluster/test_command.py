"""The command against a real Kubernetes API, with no more rights than docs/cli.md asks for."""

from __future__ import annotations

import re
import shlex
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


def shown(language: str) -> str:
    """The first block of the page in this language."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def gitpulse(capsys, monkeypatch, place) -> Command:
    """As somebody with the rights of the page, in this place alone."""
    monkeypatch.setenv(
        "KUBECONFIG", str(account(place.plane, place.namespace, "somebody", *yaml.safe_load(shown("yaml"))["rules"]))
    )
    monkeypatch.delenv("GITPULSE_REDIS_URL", raising=False)
    return Command(capsys, monkeypatch)


@pytest.fixture
def ready(place, running_operator):
    place.simulator.push()
    place.apply_examples()
    place.wait("gitpulseproject/website")
    return place


def test_what_the_page_shows_works_with_the_rights_that_it_asks_for(gitpulse, ready, operator, port, monkeypatch):
    for name, value in operator.shared.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GITPULSE_PUBLIC_URL", f"http://127.0.0.1:{port}")
    ready.kubectl("delete", "gitpulseteam/acme")  # there are others of this name, in other places
    for what in ("gitlabconnection/gitlab", "gitpulseproject/api"):
        ready.wait(what)
    done = {}
    for line in shown("sh").splitlines():
        program, *typed = shlex.split(line, comments=True)
        done[" ".join(typed)] = gitpulse(*typed, "-n", ready.namespace)
        assert program == "gitpulse"
        assert done[" ".join(typed)].code == 0, (line, done[" ".join(typed)])
    (hook,) = ready.hooks("website")
    assert [f"{ready.namespace}/website", "acme/website", str(hook.id)] in [row[:3] for row in done["hooks list"].table]
    assert "accepted, by secret generation 1" in done["hooks test website"].out
    assert "generation 2 is in use (Proven)" in done["hooks rotate website --wait"].err
    assert "Receivers have taken authentic deliveries" in done["hooks revive website --wait"].err
    assert "asked for 2 new secrets" in done["hooks rotate --all"].err

    def answered() -> bool:
        return "lastHandledConnectionRotateAt" in ready.get("gitpulseproject/api")["status"]

    wait_until(answered, what="the wish of all to be answered")


def test_a_name_without_a_namespace_is_in_that_of_the_kubeconfig(gitpulse, ready):
    (website,) = gitpulse.json("projects", "website")
    assert (website["project"], website["ready"]) == (f"{ready.namespace}/website", "True")
    assert {row["target"] for row in gitpulse.json("projects", "-n", ready.namespace)} == {"acme/website", "acme/api"}
    whole = gitpulse.json("status", "-n", ready.namespace)
    assert whole["projects"]["total"] == 2
    assert whole["connections"][0]["url"] == ready.simulator.url
    found = gitpulse.json("hooks", "show", f"{ready.namespace}/website")
    assert found["target"] == "acme/website"
    assert found["secret"]["generation"] == 1


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
