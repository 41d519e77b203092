"""The kinds as a real API server sees them: what it takes, what it refuses and in which words, what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from harness.controlplane import CRDS, ROOT, ControlPlane

pytestmark = pytest.mark.cluster

KINDS = {
    "gitlabconnections": "GitLabConnection",
    "gitpulseprojects": "GitPulseProject",
    "gitpulseteams": "GitPulseTeam",
}
FILES = sorted(CRDS.glob("*.yaml"))
CONNECTION, PROJECT, TEAM = KINDS


class Kinds:
    """Our kinds in one namespace, through the Python client."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.api = api
        self._objects = client.CustomObjectsApi(api)
        self.namespace = namespace

    def create(self, plural: str, spec: dict[str, Any], *, name: str = "it", dry_run: bool = True) -> dict[str, Any]:
        body = {"apiVersion": "gitpulse.io/v1alpha1", "kind": KINDS[plural], "metadata": {"name": name}, "spec": spec}
        rehearsal: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        made: Any = self._objects.create_namespaced_custom_object(
            "gitpulse.io", "v1alpha1", self.namespace, plural, body, field_validation="Strict", **rehearsal
        )
        return dict(made)

    def patch(self, plural: str, name: str, patch: dict[str, Any], *, status: bool = False) -> dict[str, Any]:
        call = self._objects.patch_namespaced_custom_object
        if status:
            call = self._objects.patch_namespaced_custom_object_status
        patched: Any = call("gitpulse.io", "v1alpha1", self.namespace, plural, name, patch)
        return dict(patched)

    def names(self, plural: str, *, field_selector: str = "") -> list[str]:
        found: Any = self._objects.list_namespaced_custom_object(
            "gitpulse.io", "v1alpha1", self.namespace, plural, field_selector=field_selector
        )
        return [item["metadata"]["name"] for item in found["items"]]


@pytest.fixture(scope="module")
def kinds(control_plane: ControlPlane) -> Iterator[Kinds]:
    with control_plane.api() as api:
        yield Kinds(api, control_plane.namespace("crds"))


def causes(refusal: client.ApiException) -> list[dict[str, str]]:
    """What a refusal complains of, field by field."""
    complaints: list[dict[str, str]] = json.loads(refusal.body or "{}")["details"]["causes"]
    return complaints


def spec_of(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A spec with some fields set and, where None, left out."""
    return {field: value for field, value in {**base, **changes}.items() if value is not None}


def connection(**changes: Any) -> dict[str, Any]:
    return spec_of({"url": "https://gitlab.example.com", "tokenSecretRef": {"name": "gitlab-token"}}, changes)


def project(**changes: Any) -> dict[str, Any]:
    return spec_of({"connectionRef": {"name": "gitlab"}, "project": "acme/website"}, changes)


def group(**changes: Any) -> dict[str, Any]:
    return project(**{"project": None, "group": "acme", **changes})


def team(*members: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return spec_of({"members": list(members) or [{"name": "Alice"}]}, changes)


PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

TAKEN = [
    (CONNECTION, connection()),
    (CONNECTION, connection(url="http://127.0.0.1:8929")),
    (CONNECTION, connection(url="https://example.com:8443/gitlab/", caBundle=PEM, requestsPerSecond=1)),
    (CONNECTION, connection(url="http://[::1]:8080", tokenSecretRef={"name": "a.b", "key": "GITLAB_TOKEN"})),
    (PROJECT, project()),
    (PROJECT, project(project="42")),
    (PROJECT, project(project="acme/platform/deep.er/web_site-2")),
    (PROJECT, project(events=["TagPush", "Job", "Deployment", "ResourceAccessToken"], sslVerification=False)),
    (PROJECT, project(secret={"type": "SigningToken", "rotationInterval": "0s", "overlap": "90m"})),
    (PROJECT, project(secret={"rotationInterval": "24h30m15s", "secretRef": {"name": "mine"}}, suspend=True)),
    (PROJECT, project(deletionPolicy="Orphan", adoptionPolicy="Observe", teamRef={"name": "acme"})),
    (PROJECT, group()),
    (PROJECT, group(group="7", groupMode="GroupHook", events=["Push", "Member", "Subgroup", "Project"])),
    (PROJECT, group(group="acme/platform", groupMode="ProjectHooks")),
    (TEAM, team()),
    (
        TEAM,
        team(
            {
                "name": "Doležal",
                "emails": ["d@acme.example"],
                "names": ["Dmitri"],
                "usernames": ["dmi.tri_1"],
                "gitlabIDs": [7],
            }
        ),
    ),
    (TEAM, team(bots=["renovate*", "*[bot]@acme.example"], timeZone="America/Argentina/Buenos_Aires")),
    (TEAM, team(timeZone="Etc/GMT+1")),
]

GROUP_EVENT = 'must not hold "Member", "Subgroup" or "Project"'

REFUSED = [
    (CONNECTION, connection(url=None), "spec.url", "Required value"),
    (CONNECTION, connection(url="gitlab.example.com"), "spec.url", 'must be a URL that starts with "http://"'),
    (CONNECTION, connection(url="ftp://gitlab.example.com"), "spec.url", 'must be a URL that starts with "http://"'),
    (CONNECTION, connection(url="https://"), "spec.url", 'must be a URL that starts with "http://"'),
    (CONNECTION, connection(url="https://gitlab.example.com?a=b"), "spec.url", "without a query"),
    (CONNECTION, connection(url="https://gitlab.example.com/#x"), "spec.url", "without a fragment"),
    (CONNECTION, connection(url="https://me:pw@gitlab.example.com"), "spec.url", "must not hold a user name"),
    (CONNECTION, connection(url="https://gitlab.example.com/api/v4/"), "spec.url", 'without "/api/v4"'),
    (CONNECTION, connection(tokenSecretRef=None), "spec.tokenSecretRef", "Required value"),
    (CONNECTION, connection(tokenSecretRef={"name": "Not A Name"}), "spec.tokenSecretRef.name", "should match"),
    (CONNECTION, connection(tokenSecretRef={"name": "a", "key": "a/b"}), "spec.tokenSecretRef.key", "should match"),
    (CONNECTION, connection(caBundle="rubbish"), "spec.caBundle", "must be PEM text"),
    (CONNECTION, connection(requestsPerSecond=0), "spec.requestsPerSecond", "greater than or equal to 1"),
    (CONNECTION, connection(requestsPerSecond=0.5), "spec.requestsPerSecond", "must be of type int32"),
    (PROJECT, project(group="acme"), "spec", "must have exactly one of `project` and `group`"),
    (PROJECT, project(project=None), "spec", "must have exactly one of `project` and `group`"),
    (PROJECT, project(project="acme"), "spec.project", "must be the full path of a project"),
    (PROJECT, project(project="acme/web site"), "spec.project", "must be the full path of a project"),
    (PROJECT, project(project="/acme/website"), "spec.project", "must be the full path of a project"),
    (PROJECT, project(project="https://gitlab.com/acme/website"), "spec.project", "must be the full path of a project"),
    (PROJECT, project(project="0"), "spec.project", "must be the full path of a project"),
    (PROJECT, project(project=42), "spec.project", "must be of type string"),
    (PROJECT, group(group="acme/"), "spec.group", "must be the full path of a group"),
    (PROJECT, project(connectionRef=None), "spec.connectionRef", "Required value"),
    (PROJECT, project(connectionRef={}), "spec.connectionRef.name", "Required value"),
    (PROJECT, project(events=[]), "spec.events", "at least 1 items"),
    (PROJECT, project(events=["Push", "Push"]), "spec.events[1]", "Duplicate value"),
    (PROJECT, project(events=["push"]), "spec.events[0]", "supported values"),
    (PROJECT, project(events=["Member"]), "spec.events", f"{GROUP_EVENT} unless `group` is set"),
    (PROJECT, group(groupMode="ProjectHooks", events=["Subgroup"]), "spec.events", f"{GROUP_EVENT} where `groupMode`"),
    (PROJECT, project(groupMode="GroupHook"), "spec.groupMode", '`groupMode` must be "Auto" unless `group` is set'),
    (PROJECT, project(sslVerification="yes"), "spec.sslVerification", "must be of type boolean"),
    (PROJECT, project(secret={"type": "None"}), "spec.secret.type", "supported values"),
    (PROJECT, project(secret={"rotationInterval": "30d"}), "spec.secret.rotationInterval", "should match"),
    (PROJECT, project(secret={"rotationInterval": "30m"}), "spec.secret.rotationInterval", 'or at least "1h"'),
    (PROJECT, project(secret={"rotationInterval": "1h"}), "spec.secret.overlap", "shorter than `rotationInterval`"),
    (PROJECT, project(secret={"overlap": "59s"}), "spec.secret.overlap", 'must be at least "1m"'),
    (PROJECT, project(secret={"overlap": 60}), "spec.secret.overlap", "must be of type string"),
    (PROJECT, project(deletionPolicy="Keep"), "spec.deletionPolicy", "supported values"),
    (PROJECT, project(adoptionPolicy="adopt"), "spec.adoptionPolicy", "supported values"),
    (PROJECT, project(teamRef={"name": "a" * 64}), "spec.teamRef.name", "may not be more than 63"),
    (TEAM, team(members=[]), "spec.members", "at least 1 items"),
    (TEAM, team({"emails": ["a@acme.example"]}), "spec.members[0].name", "Required value"),
    (TEAM, team({"name": "A"}, {"name": "A"}), "spec.members[1]", "Duplicate value"),
    (TEAM, team({"name": "A", "emails": ["acme.example"]}), "spec.members[0].emails[0]", "should match"),
    (TEAM, team({"name": "A", "usernames": ["@a"]}), "spec.members[0].usernames[0]", "should match"),
    (TEAM, team({"name": "A", "gitlabIDs": [0]}), "spec.members[0].gitlabIDs[0]", "greater than or equal to 1"),
    (TEAM, team(bots=["**"]), "spec.bots[0]", 'must not be "*" alone'),
    (TEAM, team(timeZone="Berlin, Germany"), "spec.timeZone", "must be the IANA name of a time zone"),
]


def test_each_kind_is_established(control_plane: ControlPlane) -> None:
    served = json.loads(control_plane.kubectl("get", "-f", CRDS, "-o", "json"))["items"]
    assert {item["spec"]["names"]["plural"] for item in served} == set(KINDS)
    for item in served:
        conditions = {c["type"]: c["status"] for c in item["status"]["conditions"]}
        assert conditions.get("Established") == "True"
        assert conditions.get("NamesAccepted") == "True"
        assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize(("plural", "spec"), TAKEN)
def test_taken(kinds: Kinds, plural: str, spec: dict[str, Any]) -> None:
    stored = kinds.create(plural, spec)["spec"]
    assert {field: pruned(value, spec.get(field)) for field, value in stored.items() if field in spec} == spec


def pruned(stored: Any, given: Any) -> Any:
    """What is stored, without the defaults that were filled in below a field that was given."""
    if isinstance(stored, dict):
        return {field: pruned(value, given[field]) for field, value in stored.items() if field in given}
    if isinstance(stored, list):
        return [pruned(one, other) for one, other in zip(stored, given, strict=True)]
    return stored


@pytest.mark.parametrize(
    ("plural", "spec", "field", "message"), REFUSED, ids=[f"{field}: {message}" for _, _, field, message in REFUSED]
)
def test_refused(kinds: Kinds, plural: str, spec: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(client.ApiException) as refusal:
        kinds.create(plural, spec)
    assert refusal.value.status == 422
    found = causes(refusal.value)
    assert any(cause["field"] == field and message in cause["message"] for cause in found), found


def test_a_field_that_there_is_not_is_refused(kinds: Kinds) -> None:
    with pytest.raises(client.ApiException, match=r'unknown field \\"spec.interval\\"'):
        kinds.create(PROJECT, project(interval="5m"))


def test_a_name_that_is_no_label_is_refused(kinds: Kinds) -> None:
    kinds.create(PROJECT, project(), name="a" * 63)
    with pytest.raises(client.ApiException, match="must be at most 63 characters long"):
        kinds.create(PROJECT, project(), name="a" * 64)


def test_the_stored_object_tells_every_default(kinds: Kinds) -> None:
    made = kinds.create(PROJECT, project())
    assert made["spec"] == {
        "connectionRef": {"name": "gitlab"},
        "project": "acme/website",
        "events": ["Push", "MergeRequest", "Note", "Issue", "Pipeline"],
        "sslVerification": True,
        "groupMode": "Auto",
        "secret": {"type": "Auto", "rotationInterval": "2160h", "overlap": "1h"},
        "deletionPolicy": "Delete",
        "adoptionPolicy": "Adopt",
        "suspend": False,
    }
    assert made["status"] == {"observedGeneration": -1}
    assert kinds.create(PROJECT, project(secret={"secretRef": {"name": "a"}}))["spec"]["secret"]["secretRef"] == {
        "name": "a",
        "key": "token",
    }
    assert kinds.create(CONNECTION, connection())["spec"] == {
        "url": "https://gitlab.example.com",
        "tokenSecretRef": {"name": "gitlab-token", "key": "token"},
        "requestsPerSecond": 10,
    }
    assert kinds.create(TEAM, team())["spec"] == {
        "members": [{"name": "Alice"}],
        "bots": [],
        "timeZone": "UTC",
    }


def test_a_project_may_be_moved_and_its_status_is_no_part_of_the_spec(kinds: Kinds) -> None:
    kinds.create(PROJECT, project(), name="moved", dry_run=False)
    moved = kinds.patch(PROJECT, "moved", {"spec": {"project": None, "group": "acme"}, "status": {"hookID": 7}})
    assert moved["metadata"]["generation"] == 2
    assert moved["spec"]["group"] == "acme"
    assert "hookID" not in moved["status"]

    with pytest.raises(client.ApiException, match="must have exactly one of"):
        kinds.patch(PROJECT, "moved", {"spec": {"project": "acme/website"}})


CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Installed",
    "message": "All is well.",
    "lastTransitionTime": "2026-01-31T18:03:54Z",
    "observedGeneration": 1,
}
FAILING = {"id": 1, "path": "acme/a", "reason": "Forbidden", "message": "The token's owner is not a Maintainer."}

BAD_STATUS = [
    ({"conditions": [{**CONDITION, "reason": ""}]}, "status.conditions[0].reason"),
    ({"conditions": [{**CONDITION, "reason": "all is well"}]}, "status.conditions[0].reason"),
    ({"conditions": [{**CONDITION, "status": "Yes"}]}, "status.conditions[0].status"),
    ({"conditions": [{**CONDITION, "lastTransitionTime": "yesterday"}]}, "status.conditions[0].lastTransitionTime"),
    ({"conditions": [CONDITION, CONDITION]}, "status.conditions[1]"),
    ({"failingProjects": [{**FAILING, "id": n} for n in range(1, 22)]}, "status.failingProjects"),
    ({"target": {"kind": "Project"}}, "status.target.id"),
    ({"secret": {"phase": "Rotating"}}, "status.secret.phase"),
]


@pytest.mark.parametrize(("status", "field"), BAD_STATUS, ids=[field for _, field in BAD_STATUS])
def test_a_status_that_breaks_the_conventions_is_refused(kinds: Kinds, status: dict[str, Any], field: str) -> None:
    if "status" not in kinds.names(PROJECT):
        kinds.create(PROJECT, project(), name="status", dry_run=False)
    with pytest.raises(client.ApiException) as refusal:
        kinds.patch(PROJECT, "status", {"status": status}, status=True)
    assert refusal.value.status == 422
    assert field in {c["field"] for c in causes(refusal.value)}


def test_kubectl_shows_columns_and_waits(control_plane: ControlPlane, kinds: Kinds) -> None:
    """`kubectl get gitpulse` shows our kinds, with the columns that a person needs, and `wait` sees the conditions."""
    namespace = control_plane.namespace("columns")
    there = Kinds(kinds.api, namespace)
    there.create(CONNECTION, connection(), name="gitlab", dry_run=False)
    there.create(PROJECT, project(), name="website", dry_run=False)
    there.create(PROJECT, group(), name="everything", dry_run=False)
    there.create(TEAM, team(), name="acme", dry_run=False)
    there.patch(
        PROJECT,
        "website",
        {
            "status": {
                "conditions": [CONDITION, {**CONDITION, "type": "Delivering", "status": "Unknown"}],
                "observedGeneration": 1,
                "hooks": {"installed": 1},
                "secret": {"phase": "Stable", "generation": 3},
            }
        },
        status=True,
    )
    there.patch(CONNECTION, "gitlab", {"status": {"conditions": [CONDITION], "version": "19.1.0-ee"}}, status=True)

    shown = [line.split() for line in control_plane.kubectl("get", "gitpulse", "-A").splitlines() if line]
    assert ["NAMESPACE", "NAME", "TARGET", "READY", "DELIVERING", "HOOKS", "AGE"] in shown
    assert ["NAMESPACE", "NAME", "URL", "READY", "VERSION", "AGE"] in shown
    assert ["NAMESPACE", "NAME", "MEMBERS", "READY", "AGE"] in shown
    rows = {row[1].partition("/")[2]: row[2:-1] for row in shown if row[0] == namespace}
    assert rows["website"] == ["acme/website", "True", "Unknown", "1"]
    assert rows["everything"] == ["acme"]
    assert rows["gitlab"] == ["https://gitlab.example.com", "True", "19.1.0-ee"]
    assert "acme" in rows

    wide = control_plane.kubectl("get", "gpproj", "website", "-n", namespace, "-o", "wide").splitlines()
    assert wide[0].split()[-2:] == ["ROTATION", "REASON"]
    assert wide[1].split()[-2:] == ["Stable", "Installed"]

    waited = control_plane.kubectl(
        "wait", "--for=condition=Ready", "gitpulseproject/website", "-n", namespace, "--timeout=5s"
    )
    assert "condition met" in waited


def test_projects_are_found_by_what_they_refer_to(kinds: Kinds) -> None:
    for name, spec in {"one": project(project="acme/one"), "two": project(connectionRef={"name": "other"})}.items():
        kinds.create(PROJECT, spec, name=name, dry_run=False)
    assert kinds.names(PROJECT, field_selector="spec.connectionRef.name=other") == ["two"]
    assert kinds.names(PROJECT, field_selector="spec.project=acme/one") == ["one"]


# --- the schema itself ------------------------------------------------------------------------------------------------


def properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, and every item of its lists, with its path."""
    for name, field in schema.get("properties", {}).items():
        if (path, name) != ("", "metadata"):
            yield f"{path}.{name}", field
            yield from properties(field, f"{path}.{name}")
    if items := schema.get("items"):
        yield f"{path}[]", items
        yield from properties(items, f"{path}[]")


def schema_of(file: Path) -> dict[str, Any]:
    schema: dict[str, Any] = yaml.safe_load(file.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def wants(field: dict[str, Any]) -> Iterator[str]:
    """What a field of our schemas lacks."""
    needed = {
        "string": ["maxLength"],
        "array": ["maxItems", "x-kubernetes-list-type"],
        "integer": ["minimum", "format"],
        "number": ["no floats"],
    }
    yield from (key for key in ["description", *needed.get(field["type"], [])] if key not in field)
    if not field.get("description", "").endswith("."):
        yield "a description that is a sentence"
    if "{{" in str(field) or "${" in str(field):
        yield "no braces, which Helm would expand"
    if any("must" not in rule["message"] for rule in field.get("x-kubernetes-validations", [])):
        yield "a message that says what must be"
    if any(not value[0].isupper() for value in field.get("enum", []) if isinstance(value, str)):
        yield "CamelCase values"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_field_is_described_and_bounded(file: Path) -> None:
    fields = [("", schema_of(file)), *properties(schema_of(file))]
    assert len(fields) > 20
    assert {path: lacking for path, field in fields if (lacking := list(wants(field)))} == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_default_below_a_field_reaches_the_stored_object(file: Path) -> None:
    """An object with defaults inside has a default itself, unless it is an author's choice to have it at all.

    Inside a list there are none: whoever compares what was applied with what is stored would see a change for ever.
    """
    for path, field in properties(schema_of(file)):
        inner = any("default" in child for child in field.get("properties", {}).values())
        assert not inner or "default" in field or path.endswith("Ref") or path == ".spec", path
        assert not inner or not path.endswith("[]"), path


def test_kubectl_explains_every_field(control_plane: ControlPlane, kinds: Kinds) -> None:
    """What the server publishes, which `kubectl explain` prints, has our words for each field."""
    published = json.loads(control_plane.kubectl("get", "--raw", "/openapi/v3/apis/gitpulse.io/v1alpha1"))
    schemas = published["components"]["schemas"]
    for file in FILES:
        kind = yaml.safe_load(file.read_text())["spec"]["names"]["kind"]
        served = dict(properties(schemas[f"io.gitpulse.v1alpha1.{kind}"]))
        ours = dict(properties(schema_of(file)))
        spoken = {path: field["description"] for path, field in ours.items() if path not in (".apiVersion", ".kind")}
        assert {path: served[path].get("description") for path in spoken} == spoken

    explained = control_plane.kubectl("explain", "gitpulseproject.spec.secret.overlap")
    assert "How long the old secret is still accepted" in explained


def test_the_examples_apply_and_keep_their_word(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("examples")
    for _ in range(2):
        said = control_plane.kubectl("apply", "-n", namespace, "-f", ROOT / "examples")
    assert {line.split()[0] for line in said.splitlines()} == {
        "secret/gitlab-token",
        "gitlabconnection.gitpulse.io/gitlab",
        "gitpulseproject.gitpulse.io/api",
        "gitpulseproject.gitpulse.io/website",
        "gitpulseteam.gitpulse.io/acme",
    }
    assert {line.split()[-1] for line in said.splitlines() if "secret/" not in line} == {"unchanged"}
    names = {"gitlabconnection": ["gitlab"], "gitpulseproject": ["api", "website"], "gitpulseteam": ["acme"]}
    for kind, expected in names.items():
        listed = control_plane.kubectl("get", kind, "-n", namespace, "-o", "name").split()
        assert [name.partition("/")[2] for name in listed] == expected
    spec = json.loads(control_plane.kubectl("get", "gpproj", "website", "-n", namespace, "-o", "json"))["spec"]
    assert (spec["connectionRef"], spec["teamRef"]) == ({"name": "gitlab"}, {"name": "acme"})
