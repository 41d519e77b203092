"""Resources as the operator leaves them, in every state that those who look after them must tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from harness.house import House, Reconciled, resource

Body = dict[str, Any]


def body(done: Reconciled, *, behind: int = 0) -> Body:
    """As Kubernetes would hold it; `behind`: by how many changes the operator is."""
    made = resource(done.ref.kind, done.ref.name, dict(done.spec))
    seen = done.status["observedGeneration"]
    assert isinstance(seen, int)
    made["metadata"]["generation"] = seen + behind
    return {**made, "status": dict(done.status)}


@pytest.fixture
def house(tmp_path, simulator, redis_url, installation_key) -> House:
    made = House(tmp_path, simulator, redis_url, installation_key)
    made.projects = {name: made.project() for name in ("website", "sleeping")} | {
        "api": made.project(project="acme/api")
    }
    made.change("sleeping", suspend=True)
    made.change("api", adoptionPolicy="Observe")
    made.teams = {"default/acme": {"members": [{"name": "Alice"}]}}
    return made


@pytest.fixture
async def lived(house) -> Mapping[str, Body]:
    """Resources by how they are."""
    good = await house.run()
    house.connection["url"] = "http://127.0.0.1:9"  # nobody listens
    away = await house.run()
    house.connection["url"], house.token = house.simulator.url, "wrong"
    house.change("website", project="acme/nowhere")
    wrong = await house.run()
    fresh = {**body(good["website"]), "status": {"observedGeneration": -1}}
    return {
        "ready": body(good["website"]),
        "connected": body(good["gitlab"]),
        "team": body(good["default/acme"]),
        "changed": body(good["website"], behind=1),
        "fresh": fresh,
        "suspended": body(good["sleeping"]),
        "observed": body(good["api"]),
        "away": body(away["website"]),
        "disconnected": body(away["gitlab"]),
        "wrong": body(wrong["website"]),
        "wrong token": body(wrong["gitlab"]),
    }
