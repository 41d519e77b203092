"""What the projects of a group add up to."""

from __future__ import annotations

from typing import Any

import pytest

from gitpulse_operator.domain.fleet import Given, add_up, given


def project(generation: int, phase: str = "Stable", kind: str = "SigningToken", **conditions: str) -> dict[str, Any]:
    """A status; `conditions`: type -> reason, which says by itself whether it is true."""
    known = {"HookInstalled": "Installed", "Delivering": "Proven", **conditions}
    return {
        "target": {"path": f"acme/{generation}"},
        "secret": {"generation": generation, "type": kind, "phase": phase},
        "hooks": {"desired": 1, "installed": 1},
        "conditions": [
            {"type": name, "status": "True" if reason in ("Installed", "Proven") else "False", "reason": reason}
            for name, reason in known.items()
        ],
    }


@pytest.mark.parametrize(
    ("projects", "held", "expected"),
    [
        ([project(1), project(1)], [1], Given(1, "SigningToken", True)),
        ([], [1], Given(1, "", True)),
        ([project(1), project(2, "Pushed")], [2, 1], Given(1, "SigningToken", False)),
        ([project(2, "Pushed"), project(2, "Proven")], [2, 1], Given(2, "SigningToken", False)),
        ([project(2, "Proven"), project(2, "Proven")], [2, 1], Given(2, "SigningToken", True)),
        ([project(2, "Proven"), project(1, Delivering="HookDisabled")], [2, 1], Given(2, "SigningToken", True)),
        ([project(2, "Proven"), project(1, HookInstalled="TargetNotFound")], [2, 1], Given(2, "SigningToken", True)),
        ([project(2, "Proven"), project(1, Delivering="SecretRefused")], [2, 1], Given(1, "SigningToken", False)),
        ([project(1), project(1, kind="Token")], [1], Given(1, "Token", True)),
    ],
)
def test_all_have_a_secret_when_each_that_delivers_has_it(projects, held, expected):
    assert given(projects, held) == expected


def test_one_that_does_not_deliver_is_named():
    good, bad = project(1, Ready="Installed"), project(2, Ready="HookDisabled", Delivering="HookDisabled")
    found = add_up({1: good, 2: bad})
    conditions = {condition.type: (condition.status, condition.reason) for condition in found.conditions}
    assert conditions["Ready"] == ("False", "HookDisabled")
    assert conditions["Delivering"] == ("False", "HookDisabled")
    assert conditions["HookInstalled"] == ("True", "Installed")
    assert "1 of 2 projects" in found.conditions[0].message
    assert "acme/2" in found.conditions[0].message
    assert found.complete
    pending = add_up({1: good, 3: {"target": {"path": "acme/new"}}})
    assert pending.conditions[0].reason == "Installing"
    assert not pending.complete
