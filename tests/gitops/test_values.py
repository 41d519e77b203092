"""The values that the examples give to our chart: they work together, and with the objects beside them."""

from __future__ import annotations

import pytest
import yaml

from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from harness.chart import CHART, ROOT, only, render

EXAMPLES = ROOT / "examples/gitops"
NAMESPACE = "gitpulse-system"


def objects(file):
    return list(yaml.safe_load_all((EXAMPLES / file).read_text()))


def named(file, kind, name):
    return next(it for it in objects(file) if (it["kind"], it["metadata"]["name"]) == (kind, name))


APPLICATION = named("argo-cd/application.yaml", "Application", "gitpulse")["spec"]["source"]
RELEASE = named("flux/release.yaml", "HelmRelease", "gitpulse")["spec"]
VALUES = {
    **{it.parent.name: yaml.safe_load(it.read_text()) for it in sorted(EXAMPLES.glob("*/values.yaml"))},
    "argo-cd": APPLICATION["helm"]["valuesObject"],
    "flux": RELEASE["values"],
}


@pytest.mark.cluster
@pytest.mark.parametrize("example", VALUES)
def test_what_the_chart_makes_of_them_is_taken(others, example):
    namespace = others.namespace("gitops")
    rendered = [it for it in render(VALUES[example], namespace=namespace) if it["kind"] != "CustomResourceDefinition"]
    stdin = yaml.safe_dump_all(rendered)
    others.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=stdin)


@pytest.mark.parametrize("example", ["argo-cd", "flux", "external-secrets"])
def test_each_rendering_is_the_same_and_without_secrets(example):
    rendered = render(VALUES[example])
    assert rendered == render(VALUES[example])
    assert [it for it in rendered if it["kind"] == "Secret"] == []


def test_the_chart_and_its_version_are_ours():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    repository = named("flux/release.yaml", "OCIRepository", "gitpulse")["spec"]
    assert APPLICATION["targetRevision"] == repository["ref"]["tag"] == chart["version"]
    assert APPLICATION["chart"] == chart["name"]
    assert repository["url"] == f"oci://{APPLICATION['repoURL']}/{chart['name']}"


@pytest.mark.parametrize("example", VALUES)
def test_secrets_that_are_named_come_from_somewhere(example):
    made = {
        (it["spec"].get("target", {}).get("name", it["metadata"]["name"]), data["secretKey"])
        for it in objects("external-secrets/secrets.yaml")
        for data in it["spec"]["data"]
    }
    [database] = objects("cloudnative-pg/cluster.yaml")
    made.add((f"{database['metadata']['name']}-app", "uri"))  # pkg/specs/secrets.go of CloudNativePG
    own = {
        (it["metadata"]["name"], key)
        for it in render(VALUES[example])
        if it["kind"] == "Secret"
        for key in it.get("data", ())
    }
    wanted = set()
    for it in render(VALUES[example]):
        if it["kind"] == "Deployment":
            for variable in it["spec"]["template"]["spec"]["containers"][0]["env"]:
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                wanted |= {(reference["name"], reference["key"])} if reference else set()
    assert wanted
    assert wanted <= made | own


def test_the_token_is_seen_by_the_operator_and_is_what_a_connection_names():
    token = named("external-secrets/secrets.yaml", "ExternalSecret", "gitlab-token")
    assert token["spec"]["target"]["template"]["metadata"]["labels"] == {"app.kubernetes.io/part-of": "gitpulse"}
    [_, connection] = yaml.safe_load_all((ROOT / "examples/connection.yaml").read_text())
    assert connection["spec"]["tokenSecretRef"]["name"] == token["metadata"]["name"]
    assert [it["secretKey"] for it in token["spec"]["data"]] == ["token"]


@pytest.mark.parametrize("example", ["cert-manager", "argo-cd", "flux"])
def test_the_certificate_is_the_ingresss(example):
    [certificate] = objects("cert-manager/certificate.yaml")
    spec = only(render(VALUES[example]), "Ingress")["spec"]
    tls = {"secretName": certificate["spec"]["secretName"], "hosts": certificate["spec"]["dnsNames"]}
    assert spec["tls"] == [tls]
    assert [it["host"] for it in spec["rules"]] == certificate["spec"]["dnsNames"]
    assert certificate["metadata"]["namespace"] == NAMESPACE


def test_prometheus_selects_what_the_chart_makes():
    rendered = render(VALUES["prometheus-operator"])
    spec = named("prometheus-operator/prometheus.yaml", "Prometheus", "prometheus")["spec"]
    for kind, selector in (("PodMonitor", "podMonitor"), ("PrometheusRule", "rule")):
        wanted = spec[f"{selector}Selector"]["matchLabels"]
        assert wanted
        assert wanted.items() <= only(rendered, kind)["metadata"]["labels"].items()
        assert spec[f"{selector}NamespaceSelector"] == {}


def test_alertmanager_is_told_of_every_alert():
    config = named("prometheus-operator/prometheus.yaml", "AlertmanagerConfig", "gitpulse")
    rules = only(render(VALUES["prometheus-operator"]), "PrometheusRule")["spec"]["groups"]
    labels = [rule["labels"] for group in rules for rule in group["rules"]]
    assert {it["namespace"] for it in labels} == {config["metadata"]["namespace"]}
    [route] = config["spec"]["route"]["routes"]
    told = set(route["matchers"][0]["value"].split("|"))
    assert told == {it["severity"] for it in labels} - {"info"}


def test_cloudnative_pgs_uri_is_a_database_url():
    # As its source makes it: net/url, with the user's name and password escaped.
    [cluster] = objects("cloudnative-pg/cluster.yaml")
    name, its = cluster["metadata"]["name"], cluster["spec"]["bootstrap"]["initdb"]
    uri = f"postgresql://{its['owner']}:a%2Fb%40c@{name}-rw.{NAMESPACE}:5432/{its['database']}"
    url = create_engine(ServiceSettings(database_url=uri).needed_database_url()).url
    assert (url.username, url.password, url.database) == ("gitpulse", "a/b@c", "gitpulse")
    assert (url.host, url.port, dict(url.query)) == ("gitpulse-db-rw.gitpulse-system", 5432, {})
