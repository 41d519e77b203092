"""The examples for GitOps before a real API server that knows the kinds of others, by their own schemas and rules."""

from __future__ import annotations

import re

import pytest
import yaml

from harness.chart import ROOT, only, render

pytestmark = pytest.mark.cluster

EXAMPLES = ROOT / "examples/gitops"
VALUES = "values.yaml"
MANIFESTS = {str(it.relative_to(EXAMPLES)): it for it in sorted(EXAMPLES.glob("*/*.yaml")) if it.name != VALUES}
OBJECTS = [it for file in MANIFESTS.values() for it in yaml.safe_load_all(file.read_text())]
OF_OTHERS = {f"{it['kind']}/{it['metadata']['name']}": it for it in OBJECTS if it["kind"] != "ConfigMap"}
OF_THE_CHART = ("PodMonitor", "ServiceMonitor", "PrometheusRule", "HTTPRoute")


@pytest.fixture(scope="module")
def namespace(others):
    return others.namespace("gitops")


@pytest.fixture
def refused(others, namespace):
    """Creates what is given, if only it could; what kubectl says, or nothing where it was taken."""

    def create(text):
        text = text if isinstance(text, str) else yaml.safe_dump(text)
        text = re.sub(r"^  namespace: .*$", f"  namespace: {namespace}", text, flags=re.MULTILINE)
        command = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
        return others.try_kubectl(*command, stdin=text).stderr

    return create


@pytest.mark.parametrize("example", MANIFESTS)
def test_the_api_server_takes_it(refused, example):
    assert not refused(MANIFESTS[example].read_text())


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_typo_is_refused(refused, name):
    its = OF_OTHERS[name]
    assert 'unknown field "spec.tpyo"' in refused({**its, "spec": {**its["spec"], "tpyo": 1}})


def test_a_typo_in_what_the_chart_makes_is_refused(refused):
    values = {
        "metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
        "alerts": {"prometheusRule": {"enabled": True}},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    }
    rendered = render(values)
    for kind in OF_THE_CHART:
        its = only(rendered, kind)
        assert not refused(its)
        assert 'unknown field "spec.tpyo"' in refused({**its, "spec": {**its["spec"], "tpyo": 1}})


def test_the_rules_of_others_hold_here(refused):
    release = OF_OTHERS["HelmRelease/gitpulse"]
    spec = {name: value for name, value in release["spec"].items() if name != "chartRef"}
    assert "either chart or chartRef must be set" in refused({**release, "spec": spec})
    route = only(render({"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}), "HTTPRoute")
    route["spec"]["rules"][0]["matches"][0]["path"]["value"] = "api"
    assert "value must be an absolute path" in refused(route)
