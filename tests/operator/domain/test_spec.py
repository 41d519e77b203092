"""The operator reads specs as the API server does: the same defaults, the same refusals."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

from gitpulse_operator.domain.events import GROUP_ONLY, TOGGLES, toggles
from gitpulse_operator.domain.spec import (
    DURATION,
    EMAIL,
    GROUP_TARGET,
    KEY,
    NAME,
    PROJECT_TARGET,
    USERNAME,
    ZONE,
    SecretRef,
    parse_connection,
    parse_project,
    parse_team,
)
from gitpulse_operator.errors import SpecInvalid
from harness.controlplane import CRDS

PROJECT = {"project": "acme/website", "connectionRef": {"name": "gitlab"}}
TEAM = {"members": [{"name": "Ann"}]}
CONNECTION = {"url": "https://gitlab.example.com", "tokenSecretRef": {"name": "gitlab-token"}}


def schema(kind: str) -> dict[str, Any]:
    """The CRD's schema of a kind's spec."""
    crd = yaml.safe_load((Path(CRDS) / f"{kind}.yaml").read_text())
    spec: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def defaults(properties: dict[str, Any]) -> dict[str, Any]:
    """What the API server fills into an empty object of these properties."""
    return {
        name: defaults(part["properties"]) if part["default"] == {} else part["default"]
        for name, part in properties.items()
        if "default" in part
    }


def test_defaults_are_those_of_the_crds():
    filled = defaults(schema("gitpulseprojects")["properties"])
    assert parse_project(PROJECT) == parse_project({**PROJECT, **filled})
    assert set(filled) == {
        *("events", "sslVerification", "groupMode", "secret", "deletionPolicy", "adoptionPolicy", "suspend")
    }
    filled = defaults(schema("gitlabconnections")["properties"])
    assert parse_connection(CONNECTION) == parse_connection({**CONNECTION, **filled})
    assert parse_connection(CONNECTION).token.key == "token"
    filled = defaults(schema("gitpulseteams")["properties"])
    assert parse_team(TEAM) == parse_team({**TEAM, **filled})


def test_patterns_and_enums_are_those_of_the_crds():
    properties = schema("gitpulseprojects")["properties"]
    assert properties["events"]["items"]["enum"] == list(TOGGLES)
    secret = properties["secret"]["properties"]
    assert secret["overlap"]["pattern"] == f"^{DURATION.pattern}$"
    assert secret["secretRef"]["properties"]["name"]["pattern"] == f"^{NAME.pattern}$"
    assert secret["secretRef"]["properties"]["key"]["pattern"] == f"^{KEY.pattern}$"
    (project,) = properties["project"]["x-kubernetes-validations"]
    (group,) = properties["group"]["x-kubernetes-validations"]
    assert PROJECT_TARGET.pattern in project["rule"].replace("(", "", 1)
    assert GROUP_TARGET.pattern in group["rule"]
    team = schema("gitpulseteams")["properties"]
    member = team["members"]["items"]["properties"]
    assert member["emails"]["items"]["pattern"] == f"^{EMAIL.pattern}$"
    assert member["usernames"]["items"]["pattern"] == f"^{USERNAME.pattern}$"
    assert ZONE.pattern in team["timeZone"]["x-kubernetes-validations"][0]["rule"]


PROJECTS_REFUSED = [
    ({"connectionRef": {"name": "gitlab"}}, "must have exactly one of `project` and `group`"),
    ({**PROJECT, "group": "acme"}, "must have exactly one of `project` and `group`"),
    ({**PROJECT, "groupMode": "GroupHook"}, '`groupMode` must be "Auto" unless `group` is set'),
    ({**PROJECT, "events": ["Member"]}, "only a group sends them"),
    (
        {"group": "acme", "connectionRef": {"name": "g"}, "groupMode": "ProjectHooks", "events": ["Subgroup"]},
        "only a group hook sends them",
    ),
    ({**PROJECT, "secret": {"rotationInterval": "59m"}}, '`rotationInterval` must be "0s"'),
    ({**PROJECT, "secret": {"overlap": "59s"}}, '`overlap` must be at least "1m"'),
    ({**PROJECT, "secret": {"rotationInterval": "1h"}}, "`overlap` must be shorter than `rotationInterval`"),
    ({"project": "acme/website"}, "`connectionRef` must be set"),
    ({**PROJECT, "connectionRef": {}}, "`connectionRef.name` must be set"),
    ({**PROJECT, "connectionRef": "gitlab"}, "`connectionRef` must be an object"),
    ({**PROJECT, "project": 42}, "`project` must be text, in quotes"),
    ({**PROJECT, "project": "website"}, "`project` must not be"),
    ({**PROJECT, "project": "acme/../x y"}, "`project` must not be"),
    ({**PROJECT, "events": []}, "`events` must be a list with at least one"),
    ({**PROJECT, "events": ["Push", "push"]}, '`events` must not hold "push"'),
    ({**PROJECT, "suspend": "yes"}, "`suspend` must be true or false"),
    ({**PROJECT, "deletionPolicy": "Keep"}, "`deletionPolicy` must be one of Delete, Orphan"),
    ({**PROJECT, "secret": {"overlap": "1d"}}, "`secret.overlap` must not be"),
]


@pytest.mark.parametrize(("spec", "message"), PROJECTS_REFUSED)
def test_a_wrong_project_is_refused_in_the_crds_words(spec, message):
    with pytest.raises(SpecInvalid, match=re.escape(message)):
        parse_project(spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "gitlab.example.com"}, 'must be a URL that starts with "http://" or "https://"'),
        ({"url": "https://"}, "names a host"),
        ({"url": "https://[::1"}, "names a host"),
        ({"url": "https://x.example?a=b"}, "without a query"),
        ({"url": "https://me:pw@x.example"}, "must not hold a user name"),
        ({"url": "https://x.example/api/v4/"}, 'without "/api/v4"'),
        ({"caBundle": "abc"}, "BEGIN CERTIFICATE"),
        ({"requestsPerSecond": 0}, "`requestsPerSecond` must be a whole number from 1 to 1000"),
        ({"requestsPerSecond": True}, "`requestsPerSecond` must be a whole number"),
        ({"tokenSecretRef": {"name": "Bad_Name"}}, "`tokenSecretRef.name` must not be"),
    ],
)
def test_a_wrong_connection_is_refused(change, message):
    with pytest.raises(SpecInvalid, match=re.escape(message)):
        parse_connection({**CONNECTION, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "`members` must be a list with at least one person"),
        ({"members": {}}, "`members` must be a list"),
        ({"members": ["Ann"]}, "`members[0]` must be an object"),
        ({"members": [{"name": "Ann"}, {}]}, "`members[1].name` must be set"),
        ({"members": [{"name": "Ann", "emails": ["a@b", "ann"]}]}, '`members[0].emails[1]` must not be "ann"'),
        ({"members": [{"name": "Ann", "usernames": ["@ann"]}]}, "`members[0].usernames[0]` must not be"),
        ({"members": [{"name": "Ann", "gitlabIDs": ["7"]}]}, "`members[0].gitlabIDs[0]` must be a whole number"),
        (
            {"members": [{"name": "Ann", "email": "a@b"}]},
            "`members[0].email` is not known here; known are name, emails",
        ),
        ({"bots": ["renovate*", "**"]}, '`bots[1]` must not be "**"'),
        ({"timeZone": "Berlin"}, 'there is no "Berlin"'),
        ({"timeZone": "Europe"}, 'there is no "Europe"'),
        ({"timeZone": "../UTC"}, "`timeZone` must not be"),
        ({"zone": "UTC"}, "`zone` is not known here"),
    ],
)
def test_a_wrong_team_is_refused(change, message):
    with pytest.raises(SpecInvalid, match=re.escape(message)):
        parse_team({**TEAM, **change})


def test_every_cross_field_rule_of_the_crds_is_repeated():
    said = {message for _, message in PROJECTS_REFUSED}
    rules = {rule["message"] for rule in schema("gitpulseprojects")["x-kubernetes-validations"]}
    rules |= {
        rule["message"] for rule in schema("gitpulseprojects")["properties"]["secret"]["x-kubernetes-validations"]
    }
    for rule in rules:
        assert any(words in rule for words in said), rule


def test_a_full_spec_is_read():
    spec = parse_project(
        {
            "group": "acme/platform",
            "connectionRef": {"name": "gitlab"},
            "events": ["Push", "Member"],
            "sslVerification": False,
            "groupMode": "GroupHook",
            "secret": {"type": "Token", "secretRef": {"name": "mine"}, "rotationInterval": "1h30m", "overlap": "90s"},
            "deletionPolicy": "Orphan",
            "adoptionPolicy": "Observe",
            "teamRef": {"name": "acme"},
            "suspend": True,
        }
    )
    assert (spec.kind, spec.target, spec.team) == ("Group", "acme/platform", "acme")
    assert spec.secret.ref == SecretRef("mine", "token")
    assert spec.secret.rotation_interval == timedelta(hours=1, minutes=30)
    assert spec.secret.overlap == timedelta(seconds=90)
    assert parse_connection({**CONNECTION, "url": "http://x.example/git/"}).url == "http://x.example/git"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*schema("gitpulseprojects")["properties"], "x"]), json_like))
def test_whatever_is_in_a_file_is_read_or_refused(spec):
    with contextlib.suppress(SpecInvalid):
        parse_project({**PROJECT, **spec})


def test_toggles_say_yes_or_no_to_every_event():
    project, group = toggles({"Push"}, "Project"), toggles({"Push", "Member"}, "Group")
    assert [name for name, on in project.items() if on] == ["push_events"]
    assert {name for name, on in group.items() if on} == {"push_events", "member_events"}
    assert {TOGGLES[event] for event in GROUP_ONLY}.isdisjoint(project)
    assert set(project) >= {attribute for event, attribute in TOGGLES.items() if event not in GROUP_ONLY}
