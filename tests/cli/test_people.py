"""`gitpulse teams` and `gitpulse people` as their user runs them: what they print, what they do, their exit codes."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from gitpulse_service.events.decode import decode
from gitpulse_service.store.engine import create_engine
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.sessions import Account, begin
from gitpulse_service.store.write import apply
from harness.samples import body, envelope

TEAMS = """
teams:
  - name: acme
    timeZone: Europe/Berlin
    members:
      - {name: Zoë Ångström, emails: [zoe@acme.example]}
      - {name: Ann Arbor, emails: [ann@acme.example], usernames: [ann]}
"""


@pytest.fixture
def run(gitpulse, service_environment):
    return gitpulse


@pytest.fixture
def pushed(service_environment):
    """Two commits of zoe@acme.example, pushed by the account zoe."""

    async def write():
        engine = create_engine(os.environ["GITPULSE_DATABASE_URL"])
        await migrate(engine)
        told = envelope(body("push/two_commits"), delivery_id="one", event="Push Hook")
        await apply(engine, [(told, decode(told))])
        await engine.dispose()

    asyncio.run(write())


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "teams.yaml"
    file.write_text(TEAMS)
    return file


def test_teams_are_applied_and_listed(run, file):
    assert run("teams", "apply", file) == (0, "", "1 teams, 5 aliases in use\n")
    members = ["Ann Arbor", "Zoë Ångström"]
    listed = [{"team": "acme", "source": "file", "time_zone": "Europe/Berlin", "members": members}]
    assert json.loads(run("teams", "list", "-o", "json")[1]) == listed
    (ann, _) = json.loads(run("people", "list", "-o", "json")[1])
    assert ann["aliases"] == ["email ann@acme.example", "name ann arbor", "username ann"]
    assert "Ann Arbor" in run("people", "list")[1]
    file.write_text("teams: []")
    assert run("teams", "apply", file)[0] == 0
    assert json.loads(run("teams", "list", "-o", "json")[1]) == []


def test_what_is_claimed_twice_is_told(run, file):
    file.write_text(TEAMS.replace("zoe@", "Ann@"))
    said = "email ann@acme.example is claimed by Ann Arbor and Zoë Ångström; it counts for Ann Arbor\n"
    assert said in run("teams", "apply", file)[2]
    assert said in run("people", "list")[2]


def test_the_manifests_that_kubernetes_takes_are_taken(run, tmp_path):
    (tmp_path / "team.yaml").write_text(
        "kind: GitPulseTeam\nmetadata: {name: ops}\nspec: {members: [{name: Ben}]}\n---\nkind: Secret\n"
    )
    assert run("teams", "apply", tmp_path)[0] == 0
    assert json.loads(run("teams", "list", "-o", "json")[1])[0]["members"] == ["Ben"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teams: [", "line 1"),
        ("- a", "must be an object"),
        ("teams: {}", "`teams` must be a list"),
        ("team: []", "`team` is not known"),
        ("teams: [{members: [{name: A}]}]", "teams[0]: `name` must be set"),
        (f"{TEAMS}{TEAMS[8:]}", "teams[1]: `name` must be set, and no other team's"),
        (TEAMS.replace("ann@acme", "ann at acme"), "teams[0]: `members[1].emails[0]` must not be"),
        (TEAMS.replace("usernames", "users"), "teams[0]: `members[1].users` is not known here"),
        (TEAMS.replace("Berlin", "Berlim"), "teams[0]: `timeZone` must be the IANA name"),
        (f"mailmap: absent\n{TEAMS}", "absent: No such file"),
        (f"mailmap: teams.yaml\n{TEAMS}", "teams.yaml: line 1 must be `Name <e-mail>`"),
    ],
)
def test_a_wrong_file_is_told_by_its_place_and_changes_nothing(run, file, text, said):
    run("teams", "apply", file)
    file.write_text(text)
    code, out, err = run("teams", "apply", file)
    assert (code, out) == (1, "")
    assert str(file.parent) in err
    assert said in err
    assert len(json.loads(run("people", "list", "-o", "json")[1])) == 2


def test_who_matches_nobody_is_listed_with_who_it_may_be(run, pushed, file):
    file.write_text(TEAMS.replace("zoe@acme", "zoe@home").replace("Zoë Ångström", "Zoe"))
    run("teams", "apply", file)
    found = json.loads(run("people", "unmatched", "-o", "json")[1])
    zoe = {row["email"] or row["username"]: (row["commits"], row["other"], row["maybe"]) for row in found}
    assert zoe["zoe@acme.example"] == (1, 0, ["Zoe (has zoe elsewhere)"])
    assert zoe["zoe"] == (0, 1, ["Zoe (has zoe elsewhere)"])
    assert len(json.loads(run("people", "unmatched", "--limit", "1", "-o", "json")[1])) == 1


def test_somebody_is_forgotten_when_that_is_confirmed(run, pushed, file):
    run("teams", "apply", file)
    code, _, err = run("people", "forget", "zoe@acme.example", stdin="n\n")
    assert code == 1
    assert "Zoë Ångström <zoe@acme.example>" in err
    code, _, err = run("people", "forget", "zoe@acme.example", stdin="y\n")
    assert code == 0
    assert "2 identities, now person-" in err
    assert "1 raw deliveries dropped" in err
    assert 'source "file"' in err
    assert [row["person"] for row in json.loads(run("people", "list", "-o", "json")[1])] == ["Ann Arbor"]
    code, _, err = run("people", "forget", "zoe@acme.example", "--erase", "--yes")
    assert (code, "nobody's now" in err) == (0, True)


def test_two_persons_are_not_taken_for_one(run, file):
    file.write_text(TEAMS + "      - {name: Ben, usernames: [joe]}\n      - {name: Cleo, names: [joe]}\n")
    run("teams", "apply", file)
    code, _, err = run("people", "forget", "joe", "--yes")
    assert (code, "joe may be Ben or Cleo" in err) == (1, True)


def test_somebody_is_signed_out_everywhere(run, file):
    """As docs/sign-in.md has it."""

    async def sign_in():
        engine = create_engine(os.environ["GITPULSE_DATABASE_URL"])
        await migrate(engine)
        for number, name in (("7", "ann"), ("7", "ann"), ("8", "ben")):
            await begin(engine, Account("https://gitlab.example.com", number, name, None, frozenset()))
        await engine.dispose()

    asyncio.run(sign_in())
    assert run("people", "sign-out", "ann") == (0, "", "2 sessions of ann ended\n")
    code, out, err = run("people", "sign-out", "ann")
    assert (code, out, "nobody is signed in as ann" in err) == (1, "", True)
    assert run("people", "sign-out", "8").code == 0
