"""The chart without a cluster: what it renders, what it refuses, in which words, and that it agrees with the code."""

from __future__ import annotations

import json
from itertools import product

import pytest
import yaml

from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.settings import ServiceSettings
from harness.chart import CHART, ROOT, Refused, lint, only, render

POD_KINDS = ("Deployment", "StatefulSet", "Job", "Pod")
SIGN_IN = {
    "url": "https://gitpulse.example.com",
    "admins": ["ann", "group:acme/leads"],
    "oidc": {
        "issuer": "https://gitlab.example.com",
        "clientId": "us",
        "clientSecret": {"existingSecret": "application"},
    },
}
SHA = f"sha256:{'0' * 64}"


def pods(resources):
    """The pods' specs by the name of what makes them."""
    return {
        it["metadata"]["name"]: it["spec"] if it["kind"] == "Pod" else it["spec"]["template"]["spec"]
        for it in resources
        if it["kind"] in POD_KINDS
    }


def environment(pod):
    return {it["name"]: it.get("value", it.get("valueFrom")) for it in pod["containers"][0]["env"]}


def test_helms_linter_has_nothing_to_say():
    assert "0 chart(s) failed" in lint()


def test_the_chart_has_the_kinds_as_they_are():
    ours, copies = ROOT / "crds", CHART / "files/crds"
    assert {it.name: it.read_bytes() for it in ours.iterdir()} == {it.name: it.read_bytes() for it in copies.iterdir()}


@pytest.mark.parametrize(("keep", "annotations"), [(True, {"helm.sh/resource-policy": "keep"}), (False, None)])
def test_the_kinds_stay_or_go(keep, annotations):
    rendered = [it for it in render({"crds": {"keep": keep}}) if it["kind"] == "CustomResourceDefinition"]
    assert len(rendered) == 3
    for crd in rendered:
        name = crd["metadata"]["name"]
        source = yaml.safe_load((ROOT / "crds" / f"{name.partition('.')[0]}.yaml").read_text())
        assert crd["spec"] == source["spec"]
        assert crd["metadata"].get("annotations") == annotations
        assert crd["metadata"]["labels"]["app.kubernetes.io/part-of"] == "gitpulse"
    assert not [it for it in render({"crds": {"enabled": False}}) if it["kind"] == "CustomResourceDefinition"]


def rules(documents, kind, name):
    found = only(documents, kind, name)["rules"]
    return sorted(json.dumps(it, sort_keys=True) for it in found)


def test_the_operator_may_do_what_its_rules_say_and_no_more():
    ours = list(yaml.safe_load_all((ROOT / "operator/rbac.yaml").read_text()))
    whole = rules(ours, "ClusterRole", "gitpulse-operator")
    assert rules(render(), "ClusterRole", "gitpulse-system-gitpulse-operator") == whole
    lease = rules(ours, "Role", "gitpulse-operator")
    assert rules(render(), "Role", "gitpulse-operator-lease") == lease


def test_in_some_namespaces_it_has_rights_in_these_alone():
    resources = render({"watchNamespaces": ["a", "b"]})
    assert not [it for it in resources if it["kind"].startswith("ClusterRole")]
    roles = {it["metadata"]["namespace"]: it for it in resources if it["metadata"]["name"] == "gitpulse-operator"}
    assert set(roles) >= {"a", "b"}
    wide = {"namespaces", "customresourcedefinitions"}
    assert not [it for role in resources if role["kind"] == "Role" for it in role["rules"] if wide & {*it["resources"]}]
    operator = environment(pods(resources)["gitpulse-operator"])
    assert operator["GITPULSE_WATCH_NAMESPACES"] == "a,b"


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://gitpulse-receiver.gitpulse-system.svc:8080"),
        ({"publicUrl": "https://hooks.example.com/in"}, "https://hooks.example.com/in"),
        (
            {"ingress": {"enabled": True, "hosts": ["a.example"], "tls": [{"hosts": ["a.example"]}]}},
            "https://a.example",
        ),
        ({"ingress": {"enabled": True, "hosts": ["a.example"]}}, "http://a.example"),
        ({"httpRoute": {"enabled": True, "hosts": ["b.example"], "parentRefs": [{"name": "x"}]}}, "https://b.example"),
    ],
)
def test_where_gitlab_delivers(values, url):
    assert environment(pods(render(values))["gitpulse-operator"])["GITPULSE_PUBLIC_URL"] == url


def test_only_the_hook_is_let_in_unless_the_api_is_wanted():
    def paths(**more):
        ingress = only(render({"ingress": {"enabled": True, "hosts": ["a.example"], **more}}), "Ingress")
        return [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]

    assert paths() == ["/api/v1/webhooks/gitlab"]
    assert paths(exposeApi=True) == ["/"]


@pytest.mark.parametrize("what", ["redis", "database"])
def test_what_is_given_is_used_and_what_is_not_comes_along(what):
    variable = f"GITPULSE_{what.upper()}_URL"
    bundled = render()
    url = environment(pods(bundled)["gitpulse-worker"])[variable]
    assert f"gitpulse-{what}:" in url
    assert f"$(BUNDLED_{what.upper()}_PASSWORD)" in url
    assert only(bundled, "StatefulSet", f"gitpulse-{what}")

    scheme = {"redis": "rediss", "database": "postgresql"}[what]
    inline = render({what: {"url": f"{scheme}://u:secret@host/0"}})
    assert environment(pods(inline)["gitpulse-worker"])[variable]["secretKeyRef"]["key"] == f"{what}-url"
    assert "secret@" not in json.dumps([it for it in inline if it["kind"] != "Secret"])

    brought = render({what: {"urlSecret": {"name": "mine", "key": "uri"}}})
    assert environment(pods(brought)["gitpulse-worker"])[variable] == {"secretKeyRef": {"name": "mine", "key": "uri"}}
    for resources in (inline, brought):
        assert not [it for it in resources if it["metadata"]["name"] == f"gitpulse-{what}"]


def test_with_everything_brought_the_chart_makes_no_secret():
    brought = {it: {"urlSecret": {"name": it}} for it in ("redis", "database")}
    resources = render({**brought, "installationKey": {"existingSecret": "key"}})
    assert not [it for it in resources if it["kind"] == "Secret"]


def test_settings_are_the_codes():
    defs = json.loads((CHART / "values.schema.json").read_text())["properties"]

    def variables(settings):
        return {it.validation_alias or f"GITPULSE_{name.upper()}" for name, it in settings.model_fields.items()}

    for part, settings in (("operator", OperatorSettings), ("service", ServiceSettings)):
        named = set(defs[part]["properties"]["config"]["propertyNames"]["enum"])
        resources = render({"webhookSecret": {"existingSecret": "x"}, "dashboard": SIGN_IN})
        pod = {"operator": "gitpulse-operator", "service": "gitpulse-receiver"}[part]
        chart_sets = {it for it in environment(pods(resources)[pod]) if not it.startswith("BUNDLED_")}
        assert named | chart_sets == variables(settings) | {"GITPULSE_REDIS_URL"}
        assert not named & chart_sets


def test_a_setting_reaches_receivers_and_workers():
    resources = render({"service": {"config": {"GITPULSE_MAX_BACKLOG": 5, "GITPULSE_RETENTION_DAYS": {"job": 90}}}})
    for name in ("gitpulse-receiver", "gitpulse-worker"):
        there = environment(pods(resources)[name])
        assert there["GITPULSE_MAX_BACKLOG"] == "5"
        assert json.loads(there["GITPULSE_RETENTION_DAYS"]) == {"job": 90}


def test_people_sign_in_at_receivers_alone():
    resources = render({"dashboard": SIGN_IN})
    there = environment(pods(resources)["gitpulse-receiver"])
    assert there["GITPULSE_OIDC_ISSUER"] == "https://gitlab.example.com"
    assert there["GITPULSE_OIDC_CLIENT_ID"] == "us"
    assert there["GITPULSE_OIDC_CLIENT_SECRET"] == {"secretKeyRef": {"name": "application", "key": "client-secret"}}
    assert there["GITPULSE_DASHBOARD_URL"] == "https://gitpulse.example.com"
    assert there["GITPULSE_DASHBOARD_ADMINS"] == "ann,group:acme/leads"
    egress = only(resources, "NetworkPolicy", "gitpulse-receiver")["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule.get("ports", [])} == {53, 443, 80}
    for pod in ("gitpulse-worker", "gitpulse-operator"):
        assert not [it for it in environment(pods(resources)[pod]) if "OIDC" in it]
    assert not [it for it in environment(pods(render())["gitpulse-receiver"]) if "OIDC" in it or "DASHBOARD" in it]


def test_people_open_the_dashboard_where_gitlab_delivers_unless_it_is_said():
    def url(**values):
        found = render({**values, "dashboard": {**SIGN_IN, "url": ""}})
        return environment(pods(found)["gitpulse-receiver"])["GITPULSE_DASHBOARD_URL"]

    assert url(publicUrl="https://hooks.example.com") == "https://hooks.example.com"
    assert (
        url(ingress={"enabled": True, "hosts": ["a.example"], "tls": [{"hosts": ["a.example"]}]}) == "https://a.example"
    )


def test_images_are_named_by_tag_or_digest():
    def image(values):
        return pods(render({"images": values}))["gitpulse-worker"]["containers"][0]["image"]

    assert image({}) == "registry.gitlab.com/gitpulse/gitpulse/service:0.1.0"
    assert image({"registry": "", "service": {"repository": "mine", "tag": "x"}}) == "mine:x"
    assert image({"service": {"digest": SHA}}) == f"registry.gitlab.com/gitpulse/gitpulse/service@{SHA}"


def test_every_pod_is_pulled_with_the_secrets_that_are_named():
    found = pods(render({"images": {"pullSecrets": ["one", "two"]}}))
    assert [it["imagePullSecrets"] for it in found.values()] == [[{"name": "one"}, {"name": "two"}]] * 7


def test_every_pod_has_what_restricted_asks_for_and_a_root_that_cannot_be_written():
    found = pods(render({"migration": {"enabled": True}}))
    assert len(found) == 7
    for pod in found.values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is (pod.get("serviceAccountName") == "gitpulse-operator")
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert {"requests", "limits"} <= container["resources"].keys()


def test_the_migration_reaches_the_database_as_a_worker_does():
    extras = {
        "extraEnv": [{"name": "PGSSLMODE", "value": "verify-full"}],
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
        "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
        "nodeSelector": {"pool": "data"},
        "tolerations": [{"key": "data", "operator": "Exists"}],
    }
    made = render({"worker": extras})
    for maker in (only(made, "Job"), only(made, "Deployment", "gitpulse-worker")):
        pod = maker["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        for value, told in ((container["env"], "Env"), (container["envFrom"], "EnvFrom"), (pod["volumes"], "Volumes"),
                            (container["volumeMounts"], "VolumeMounts")):  # fmt: skip
            assert value[-1:] == extras[f"extra{told}"], maker["kind"]
        assert (pod["nodeSelector"], pod["tolerations"]) == (extras["nodeSelector"], extras["tolerations"])


def test_every_part_has_a_policy_of_its_own():
    resources = render()
    policies = {
        it["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: it["spec"]
        for it in resources
        if it["kind"] == "NetworkPolicy"
    }
    assert set(policies) == {"operator", "receiver", "worker", "migration", "redis", "database"}

    def ports(component):
        return {port["port"] for rule in policies[component]["egress"] for port in rule.get("ports", [])}

    assert ports("receiver") == {53}  # and Redis and database, by their labels
    assert ports("worker") == {53, 443, 80}
    assert ports("operator") == {53, 443, 80, 6443}
    assert policies["redis"]["egress"] == []
    outside = render({"redis": {"url": "redis://x/0"}, "database": {"url": "postgresql://x/y"}})
    receiver = only(outside, "NetworkPolicy", "gitpulse-receiver")["spec"]["egress"]
    assert {port["port"] for rule in receiver for port in rule["ports"]} == {53, 5432, 6379, 26379}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"publicURL": "https://x"}, "publicURL"),
        ({"publicUrl": "hooks.example.com"}, "publicUrl"),
        ({"publicUrl": "https://user@host"}, "publicUrl"),
        ({"receiver": {"replicaCount": 3}}, "replicaCount"),
        ({"receiver": {"replicas": "3"}}, "/receiver/replicas"),
        ({"receiver": {"replicas": -1}}, "/receiver/replicas"),
        ({"receiver": {"resources": {"memory": "1Gi"}}}, "memory"),
        ({"receiver": {"resources": {"limits": {"memory": "1 GB"}}}}, "/receiver/resources/limits/memory"),
        ({"receiver": {"extraEnv": {"A": "b"}}}, "/receiver/extraEnv"),
        ({"receiver": {"service": {"type": "Clusterip"}}}, "/receiver/service/type"),
        ({"service": {"config": {"GITPULSE_MAX_BACKLOGS": 1}}}, "GITPULSE_MAX_BACKLOGS"),
        ({"service": {"config": {"GITPULSE_DATABASE_URL": "x"}}}, "GITPULSE_DATABASE_URL"),
        ({"operator": {"config": {"GITPULSE_MAX_BACKLOG": 1}}}, "GITPULSE_MAX_BACKLOG"),
        ({"database": {"url": "mysql://x"}}, "/database/url"),
        ({"redis": {"url": "localhost:6379"}}, "/redis/url"),
        ({"dashboard": {"url": "http://gitpulse.example.com"}}, "/dashboard/url"),
        ({"dashboard": {"url": "https://gitpulse.example.com/in"}}, "/dashboard/url"),
        ({"dashboard": {"admins": "ann"}}, "/dashboard/admins"),
        ({"dashboard": {"admins": ["ann bob"]}}, "/dashboard/admins/0"),
        ({"dashboard": {"oidc": {"issuer": "http://gitlab.example.com"}}}, "/dashboard/oidc/issuer"),
        ({"dashboard": {"oidc": {"clientSecret": "hush"}}}, "/dashboard/oidc/clientSecret"),
        ({"dashboard": {"admins": ["ann"]}}, "dashboard.oidc.clientId: people sign in with all of"),
        ({"dashboard": SIGN_IN | {"oidc": SIGN_IN["oidc"] | {"clientId": ""}}}, "dashboard.oidc.clientId: people"),
        (
            {"dashboard": SIGN_IN | {"oidc": SIGN_IN["oidc"] | {"clientSecret": {}}}},
            "clientSecret.existingSecret: people",
        ),
        ({"dashboard": SIGN_IN | {"oidc": SIGN_IN["oidc"] | {"issuer": ""}}}, "dashboard.oidc.issuer: people"),
        ({"dashboard": SIGN_IN | {"url": ""}}, "dashboard.url: say where people open"),
        ({"dashboard": SIGN_IN | {"url": ""}, "publicUrl": "https://a.example/in"}, "dashboard.url: say where"),
        ({"service": {"config": {"GITPULSE_OIDC_ISSUER": "x"}}}, "GITPULSE_OIDC_ISSUER"),
        ({"redis": {"enabled": False}}, "enabled"),
        ({"images": {"tag": "latest"}}, "tag"),
        ({"images": {"service": {"digest": "sha256:beef"}}}, "/images/service/digest"),
        ({"images": {"pullPolicy": "IfNotpresent"}}, "/images/pullPolicy"),
        ({"ingress": {"hosts": ["https://a.example"]}}, "/ingress/hosts/0"),
        ({"ingress": {"enabled": "true"}}, "/ingress/enabled"),
        ({"watchNamespaces": "team-a"}, "/watchNamespaces"),
        ({"networkPolicy": {"gitlabCIDRs": ["10.0.0.1"]}}, "/networkPolicy/gitlabCIDRs/0"),
        ({"metrics": {"podMonitor": {"interval": "30"}}}, "/metrics/podMonitor/interval"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: name the Gateway"),
        ({"redis": {"url": "redis://x/0", "urlSecret": {"name": "y"}}}, "redis: give either url or urlSecret.name"),
    ],
    ids=lambda it: json.dumps(it) if isinstance(it, dict) else "",
)
def test_a_mistake_is_refused_and_named(values, says):
    with pytest.raises(Refused) as refused:
        render(values)
    assert says.strip("/").replace("/", ".") in str(refused.value).replace("/", ".")


@pytest.mark.parametrize(("release", "name"), [("gitpulse", "gitpulse"), ("metrics", "metrics-gitpulse")])
def test_names_begin_with_the_release(release, name):
    assert {it["metadata"]["name"] for it in render(release=release) if it["kind"] == "Deployment"} == {
        f"{name}-{component}" for component in ("operator", "receiver", "worker")
    }


def test_pods_are_found_by_those_who_select_them():
    resources = render({part: {"autoscaling": {"enabled": True}} for part in ("receiver", "worker")})
    for deployment in (it for it in resources if it["kind"] == "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for kind, component in product(("HorizontalPodAutoscaler", "PodDisruptionBudget"), ("receiver", "worker")):
        assert only(resources, kind, f"gitpulse-{component}")
    assert "replicas" not in only(resources, "Deployment", "gitpulse-receiver")["spec"]
