"""What `kubectl describe gitpulseproject` shows, in five states: as docs/operator.md says."""

from __future__ import annotations

import re

import pytest

from gitpulse_service.contract import DIRECTORY_ACKS
from gitpulse_sim.faults import Fault
from harness.cluster import eventually
from harness.controlplane import ROOT
from harness.processes import free_port
from harness.receiver import serving, settings

pytestmark = pytest.mark.cluster

STATES = {"website": "healthy", "api": "rotating", "mobile": "disabled", "shop": "refused", "handbook": "deleting"}
"""The projects that the docs show, and how each of them stands."""


MASKS = (
    (r"(?m)^    (Last Transition Time|Observed Generation): .*\n", ""),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-11-24T09:30:00Z"),
    (r"http://127\.0\.0\.1:\d+", "https://gitlab.example.com"),
    (r"\d+(m\d+)?s( +gitpulse-operator)", r"1m\2"),
    (r"\b(Hook ID: +|[Hh]ook |Id: +)\d+", r"\g<1>7"),
)
"""What differs from run to run, with how old an Event is and how the hooks are numbered."""


def shown(described: str, other: str = "") -> str:
    """The status and Events; where there is another one to compare with: Events, and the conditions that differ."""
    text = described[described.index("Status:\n") :]
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    if not other:
        return text.strip()
    condition = r"(?ms)^    Message: .*?^    Type: +\w+\n"
    as_there = {re.sub(r"Message:.*", "", each) for each in re.findall(condition, shown(other))}
    conditions = [c for c in re.findall(condition, text) if re.sub(r"Message:.*", "", c) not in as_there]
    return f"Conditions:\n{''.join(conditions)}{text[text.index('Events:') :]}".strip()


def documented() -> dict[str, str]:
    """The same, as docs/operator.md has it."""
    page = (ROOT / "docs" / "operator.md").read_text()
    section = page[page.index("## What it looks like") :]
    return dict(re.findall(r"kubectl describe gitpulseproject/(\w+)`.*?```text\n(.*?)\n```", section, re.DOTALL))


def squeezed(text: str) -> list[str]:
    """The width of columns depends on what is masked, and Events of one second are in no order."""
    head, _, events = re.sub(r"[ -]{2,}", " ", text).partition("Events:")
    return [*head.splitlines(), *sorted(events.splitlines())]


async def until(cluster, name, kind, value):
    def condition():
        found = (cluster.get("gitpulseproject", name) or {}).get("status", {}).get("conditions", ())
        return next((f"{c['status']} {c['reason']}" for c in found if c["type"] == kind), None) == value

    await eventually(condition, what=f"{name}: {kind} {value}", within=40)


async def all_five(cluster, redis, key, port):
    """What kubectl says of each."""
    forge, receiver = cluster.simulator, settings(str(cluster.settings.redis_url), installation_key=key)
    cluster.settings = cluster.settings.model_copy(update={"public_url": f"http://127.0.0.1:{port}"})
    forge.world.instance.auto_disabling = True
    for name in ("mobile", "shop", "handbook"):
        forge.world.add_project(name, forge.website.group)
    async with cluster.operator():
        cluster.apply_connection()
        for name in STATES.keys() - {"shop"}:
            cluster.apply_project(name, project=f"acme/{name}")
        for name in STATES.keys() - {"shop"}:
            await until(cluster, name, "Ready", "True Installed")
        with serving(receiver, port=port):
            await eventually(lambda: redis.hlen(DIRECTORY_ACKS), what="a receiver")
            for name in STATES.keys() - {"shop"}:
                forge.push(project=f"acme/{name}")
                await until(cluster, name, "Delivering", "True Proven")
            cluster.annotate("rotate", "2026-11-24T09:30", "api")
            for phase in ("Pushed", "Proven"):
                await eventually(
                    lambda p=phase: cluster.get("gitpulseproject", "api")["status"]["secret"]["phase"] == p, what=phase
                )
                forge.push(project="acme/api")
                cluster.annotate("reconcile", phase, "api")  # sooner than it would look
        for _ in range(4):
            forge.push(project="acme/mobile")
        cluster.annotate("reconcile", "2026-11-24T09:30", "mobile")
        await until(cluster, "mobile", "Ready", "False HookDisabled")
        handbook = forge.world.project("acme/handbook")
        forge.world.faults.append(Fault(path=f"*/projects/{handbook.id}/*", status=502, count=-1))
        cluster.kubectl("delete", "gitpulseproject", "handbook", "--wait=false")
        forge.world.instance.outbound_filter = True
        cluster.apply_project("shop", project="acme/shop")
        await until(cluster, "shop", "Ready", "False RefusedByGitLab")
        await eventually(lambda: cluster.events()["CleanupDelayed"], what="a first try to clean up")
        return {name: cluster.kubectl("describe", f"gitpulseproject/{name}") for name in STATES}


async def test_five_states_look_as_the_docs_show(cluster, redis, installation_key, monkeypatch):
    monkeypatch.setattr("gitpulse_operator.control.DIRECTORY_CHECK", 0.2)
    port = free_port()
    described = await all_five(cluster, redis, installation_key, port)
    docs = documented()
    assert docs.keys() == STATES.keys()
    for name, text in described.items():
        there = shown(text, "" if name == "website" else described["website"])
        assert squeezed(there) == squeezed(docs[name]), f"{name}, {STATES[name]}: docs/operator.md is to show\n{there}"
