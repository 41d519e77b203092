"""docs/security.md against the rights that the operator has, the tables that there are, and the tests that it names."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import yaml

from gitpulse_service.settings import Forgotten
from gitpulse_service.store import rollups, roster, sessions, tables, tokens

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/security.md").read_text()
PARTS = ("apiGroups", "resources", "verbs")
INVENTORY = "| table | holds of people | for how long | how it goes |"


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this header."""
    lines = PAGE.splitlines()
    found = []
    for line in lines[lines.index(header) + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def code(cell: str) -> tuple[str, ...]:
    """What stands in backquotes, and nothing else but commas between."""
    assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cell), cell
    return tuple(re.findall(r"`([^`]+)`", cell))


def test_every_right_of_the_operator_has_its_row_and_its_reason():
    roles = [it for it in yaml.safe_load_all((ROOT / "operator/rbac.yaml").read_text()) if "rules" in it]
    rules = [(role["kind"], rule) for role in roles for rule in role["rules"]]
    assert all(rule.keys() == {*PARTS} for _, rule in rules), "the page has no column for more"
    there = Counter((kind, *(tuple(rule[part]) for part in PARTS)) for kind, rule in rules)
    told = rows("| role | API group | resources | verbs | why |")
    assert all(why for *_, why in told)
    assert there == Counter(
        (role, ("",) if group == "core" else code(group), code(resources), code(verbs))
        for role, group, resources, verbs, _ in told
    )


def test_every_table_is_in_the_inventory_and_nothing_else():
    kept = [roster.roster.metadata, rollups.derived, tokens.token.metadata, sessions.session.metadata]
    assert kept[0] is tables.metadata
    told = rows(INVENTORY)
    assert Counter(code(name) for name, *_ in told) == Counter((name,) for it in kept for name in it.tables)
    assert all(holds and time for _, holds, time, _ in told)


def test_what_it_says_of_retention_is_what_can_be_set():
    told = rows(INVENTORY)
    assert {code(name)[0] for name, _, time, _ in told if time == "`GITPULSE_RETENTION_DAYS`"} == {*get_args(Forgotten)}


def test_every_test_file_that_it_names_is_there():
    named = set(re.findall(r"`(tests/[^`]+)`", PAGE))
    assert named
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []
