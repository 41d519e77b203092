"""From `helm install` to `helm uninstall`, in the order in which somebody does it, as docs/install.md shows it.

The namespaces enforce the `restricted` standard. NetworkPolicies are taken; only some clusters' networks enforce them.
"""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

from harness.chart import CHART, PREVIOUS, ROOT
from harness.kind import eventually
from harness.village import GitPulse

pytestmark = [pytest.mark.kind, pytest.mark.timeout(600)]

SYSTEM = "gitpulse-system"
TEAMS = "teams"
PROJECTS = ("acme/website", "acme/api")
OURS = ("operator", "receiver", "worker")
WEBSITE = ("-n", TEAMS, "gitpulseproject/website")
MIB = 1024


KEPT = {
    "secret/gitpulse",  # by its key everything that is sealed can be read; an install takes it up again
    "persistentvolumeclaim/data-gitpulse-database-0",
    "persistentvolumeclaim/data-gitpulse-redis-0",
    "lease.coordination.k8s.io/gitpulse-operator",  # the operator's own
}
"""What an uninstall leaves in the namespace."""


@pytest.fixture(scope="module")
def values(kind, tmp_path_factory):
    """The values file, as somebody with a GitLab on port 8929 and images of their own has it."""
    file = tmp_path_factory.mktemp("kind") / "values.yaml"
    file.write_text(yaml.safe_dump(kind.values(networkPolicy={"gitlabPorts": [8929]})))
    return file


@pytest.fixture(scope="module")
def release(kind, gitlab, values):
    """The release as the chart's previous version installs it, with today's images."""
    kind.namespace(SYSTEM, **{"pod-security.kubernetes.io/enforce": "restricted"})
    kind.namespace(TEAMS)
    try:
        kind.helm("install", "gitpulse", PREVIOUS, "-n", SYSTEM, "-f", values, "--wait", "--timeout", "3m")
    except AssertionError as error:
        error.add_note(kind.told(SYSTEM))
        raise


@pytest.fixture(scope="module")
def examples(kind, release, tmp_path_factory):
    """The examples, whose connection points to the GitLab in the cluster."""
    folder = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(ROOT / "examples", folder)
    connection = folder / "connection.yaml"
    text = connection.read_text()
    assert "url: http://127.0.0.1:8929 " in text
    connection.write_text(text.replace("http://127.0.0.1:8929", "http://gitlab.gitlab.svc:8929"))
    return folder


@pytest.fixture(scope="module")
def gitpulse(kind, release):
    """Somebody with a token, who has forwarded a port."""
    said = kind.kubectl("-n", SYSTEM, "exec", "deploy/gitpulse-receiver", "--", "gitpulse", "tokens", "create", "me")
    return GitPulse(kind, SYSTEM, said.split()[0])


def pods(kind, *components):
    """Those that are not done, each as its component and itself."""
    found = kind.read("-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=gitpulse")["items"]
    named = [(pod["metadata"]["labels"]["app.kubernetes.io/component"], pod) for pod in found]
    return [it for it in named if it[1]["status"]["phase"] == "Running" and (not components or it[0] in components)]


def lives(kind):
    """uid -> component."""
    return {pod["metadata"]["uid"]: component for component, pod in pods(kind)}


def left(before, kind):
    """The components of those that live still."""
    return {before[uid] for uid in before.keys() & lives(kind).keys()}


def counted(gitlab, gitpulse, within=60):
    """What is counted is what git has."""
    eventually(lambda: gitpulse.commits() == gitlab.commits(), "the commits are counted", within)


def test_the_install_brings_everything_up(kind, release):
    kind.kubectl("-n", SYSTEM, "get", "pods,svc,pvc")
    up = pods(kind)
    assert sorted(it for it, _ in up) == ["database", "operator", "receiver", "receiver", "redis", "worker"]
    for component, pod in up:
        (container,) = pod["status"]["containerStatuses"]
        assert container["ready"], component
        assert container["restartCount"] == 0, (component, container["lastState"])


def test_helm_test_finds_it_ready(kind, release):
    said = kind.helm("test", "gitpulse", "-n", SYSTEM, "--logs")
    assert re.search(r"Phase: +Succeeded", said)
    assert "ready, and refuses strangers" in said


def test_hooks_appear_in_gitlab(kind, gitlab, examples):
    kind.kubectl("-n", TEAMS, "apply", "-f", examples)
    for name in ("website", "api"):
        kind.kubectl("-n", TEAMS, "wait", "--for=condition=Ready", f"gitpulseproject/{name}", "--timeout=60s")
    for project in PROJECTS:
        (hook,) = gitlab.hooks(project)
        assert hook["url"].startswith(f"http://gitpulse-receiver.{SYSTEM}.svc:8080/api/v1/webhooks/gitlab/")


def test_a_push_is_counted_and_proves_the_hook(kind, gitlab, gitpulse, examples):
    gitlab.push("acme/website", commits=3)
    gitlab.push("acme/api", commits=2)
    eventually(lambda: gitpulse.commits() == {"acme/website": 3, "acme/api": 2}, "the commits are counted")
    kind.kubectl(WEBSITE[0], TEAMS, "wait", "--for=condition=Delivering", WEBSITE[2], "--timeout=60s")
    kind.kubectl("get", "gitpulse", "-A")


def test_an_upgrade_from_the_previous_version_keeps_what_there_is(kind, gitlab, gitpulse, values, examples):
    before, secrets = lives(kind).keys(), kind.read("-n", SYSTEM, "get", "secret", "gitpulse")["data"]
    kind.helm("upgrade", "gitpulse", CHART, "-n", SYSTEM, "-f", values, "--wait", "--timeout", "3m")
    eventually(lambda: not before & lives(kind).keys(), "the old pods are gone")
    assert kind.read("-n", SYSTEM, "get", "secret", "gitpulse")["data"] == secrets
    assert "ready, and refuses strangers" in kind.helm("test", "gitpulse", "-n", SYSTEM, "--logs")
    gitlab.push("acme/website")
    counted(gitlab, gitpulse)


def test_an_upgrade_under_load_refuses_nothing(kind, gitlab, gitpulse, values, examples, tmp_path):
    """To a chart that differs by its version."""
    before = lives(kind)
    kind.helm("package", CHART, "--version", "9.9.9", "-d", tmp_path)
    with gitlab.refused(*PROJECTS) as refused, gitlab.busy(*PROJECTS) as pushed:
        eventually(lambda: len(pushed) > 5, "somebody pushes")
        kind.helm("upgrade", "gitpulse", tmp_path / "gitpulse-9.9.9.tgz", "-n", SYSTEM, "-f", values, "--wait")
        eventually(lambda: not left(before, kind) & {*OURS}, "the old pods are gone")
    assert left(before, kind) == {"redis", "database"}
    assert refused == []
    counted(gitlab, gitpulse)


def test_a_rotation_under_load_loses_nothing(kind, gitlab, gitpulse, examples):
    def secret():
        return kind.read("get", *WEBSITE)["status"]["secret"]

    def is_rotated():
        return secret()["generation"] > generation and secret()["phase"] == "Stable"

    kind.kubectl("patch", *WEBSITE, "--type=merge", "-p", '{"spec": {"secret": {"overlap": "1m"}}}')
    generation = secret()["generation"]
    with gitlab.refused(*PROJECTS) as refused, gitlab.busy(*PROJECTS, pause=0.5) as pushed:
        eventually(lambda: len(pushed) > 5, "somebody pushes")
        kind.kubectl("annotate", *WEBSITE, "gitpulse.io/rotate-requested-at=now", "--overwrite")
        eventually(is_rotated, "it is rotated", within=180)
    kind.kubectl("describe", *WEBSITE)
    assert refused == []
    counted(gitlab, gitpulse)


@pytest.mark.parametrize("component", OURS)
def test_pods_need_no_more_than_they_ask_for(kind, release, component):
    for _, pod in pods(kind, component):
        (container,) = pod["spec"]["containers"]
        asked = int(container["resources"]["requests"]["memory"].removesuffix("Mi"))
        status = kind.kubectl("-n", SYSTEM, "exec", pod["metadata"]["name"], "--", "grep", "VmHWM", "/proc/1/status")
        assert asked / 3 < int(status.split()[1]) / MIB < asked


def kept(kind):
    kinds = "all,configmap,secret,pvc,serviceaccount,role,rolebinding,networkpolicy,pdb,lease"
    there = set(kind.kubectl("-n", SYSTEM, "get", kinds, "-o", "name").split())
    return there - {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def test_the_uninstall_leaves_what_is_said(kind, gitlab, examples):
    kind.kubectl("-n", TEAMS, "delete", "-f", examples, "--timeout=60s")
    for project in PROJECTS:
        assert gitlab.hooks(project) == []
    kind.helm("uninstall", "gitpulse", "-n", SYSTEM, "--wait", "--timeout", "2m")
    eventually(lambda: kept(kind) == KEPT, f"only {KEPT} are left")
    named = ("-l", "app.kubernetes.io/name=gitpulse", "-o", "name")
    assert kind.kubectl("get", "clusterrole,clusterrolebinding", *named) == ""
    kinds = kind.kubectl("get", "crd", "-o", "name").split()
    assert len([it for it in kinds if it.endswith(".gitpulse.io")]) == 3  # `crds.keep`
