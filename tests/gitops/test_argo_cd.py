"""Argo CD's health check of our kinds, run by a Lua 5.1 on what the operator writes."""

from __future__ import annotations

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from gitpulse_operator.names import GROUP, PLURALS
from harness.chart import ROOT

HEALTH = yaml.safe_load((ROOT / "examples/gitops/argo-cd/health.yaml").read_text())["data"]
KEY = f"resource.customizations.health.{GROUP}_"
# util/lua/lua.go of Argo CD opens no more of the libraries for a check of the user's.
ABSENT = ("string", "math", "io", "debug", "coroutine", "python")


def health(resource):
    lua = LuaRuntime(register_eval=False)
    for library in ABSENT:
        lua.globals()[library] = None
    lua.globals()["obj"] = lua.table_from(resource, recursive=True)
    return dict(lua.execute(HEALTH[KEY + resource["kind"]]))


def test_each_kind_has_a_check():
    assert HEALTH.keys() == {KEY + kind for kind in PLURALS}


async def test_health_is_what_the_conditions_say(lived):
    assert {name: health(resource)["status"] for name, resource in lived.items()} == {
        "ready": "Healthy",
        "connected": "Healthy",
        "team": "Healthy",
        "changed": "Progressing",
        "fresh": "Progressing",
        "suspended": "Suspended",
        "observed": "Suspended",
        "away": "Progressing",
        "disconnected": "Progressing",
        "wrong": "Degraded",
        "wrong token": "Degraded",
    }


async def test_it_says_why(lived):
    for name in ("ready", "suspended", "observed", "away", "wrong token"):
        ready = next(it for it in lived[name]["status"]["conditions"] if it["type"] == "Ready")
        assert health(lived[name])["message"] == ready["message"]


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": 1}, {"observedGeneration": 1, "conditions": []}])
def test_a_resource_that_says_nothing_is_waited_for(status):
    resource = {"kind": "GitPulseTeam", "metadata": {"generation": 1}, "status": status}
    assert health(resource)["status"] == "Progressing"
