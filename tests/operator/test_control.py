"""What the watches show, and how urgent that is."""

from __future__ import annotations

import asyncio
from copy import deepcopy

from gitpulse_operator.adapters.kube import KubeCluster
from gitpulse_operator.control import Control
from gitpulse_operator.reconcile.resource import Ref
from harness.life import Life

DUE, ASKED_FOR = True, False


def urgency(control: Control) -> dict[Ref, bool]:
    """Of those on the agenda."""
    return {ref: due for ref, (due, _) in control._agenda._due.items()}


async def test_what_concerns_all_is_due_and_what_concerns_one_is_asked_for(house):
    async with Life.begun(house) as life:
        project, connection = life.ref("website"), life.ref("gitlab")
        bodies = {ref: deepcopy(life.cluster._bodies[ref]) for ref in (project, connection)}
        control = Control(house.write(), life.world)
        await control.publish_first([project])
        control.seen(bodies[connection])
        control.seen(bodies[project])
        assert urgency(control) == {project: DUE, connection: ASKED_FOR}, "at the start"
        bodies[project]["metadata"]["annotations"] = {"gitpulse.io/reconcile-requested-at": "now"}
        control.seen(bodies[project])
        assert urgency(control)[project] == ASKED_FOR

        control = Control(house.write(), life.world)
        for body in bodies.values():
            control.seen(body)
        assert urgency(control) == {project: ASKED_FOR, connection: ASKED_FOR}, "new ones, while it runs"
        for ref in bodies:
            control._agenda.drop(ref)
        control.secret_changed("default", "gitlab-token")
        assert urgency(control) == {project: DUE, connection: ASKED_FOR}
        control._agenda.drop(project)
        control.secret_changed("default", "gitpulse-website")
        assert urgency(control)[project] == ASKED_FOR


async def test_new_projects_get_their_finalizer_a_few_at_a_time(house, monkeypatch):
    """So that of thousands the first is looked after before the last has its finalizer."""
    house.projects = {name: house.project() for name in ("a", "b", "c", "d", "e")}
    house.settings["workers"] = 2
    async with Life.begun(house) as life:
        control = Control(house.write(), life.world)
        held = {name: deepcopy(life.cluster._bodies[life.ref(name)]) for name in house.projects}
        new = {name: {**body, "metadata": {**body["metadata"], "finalizers": []}} for name, body in held.items()}
        waiting = {name: asyncio.create_task(control.admit(body)) for name, body in new.items()}

        async def admitted() -> set[str]:
            await asyncio.sleep(0)
            return {name for name, task in waiting.items() if task.done()}

        assert await admitted() == {"a", "b"}
        await control.admit(held["c"])
        assert await admitted() == {"a", "b"}, "who has it keeps nobody waiting"
        control.seen(held["a"])
        control.seen(held["a"])
        assert await admitted() == {"a", "b", "c"}
        control.gone(new["b"])
        assert await admitted() == {"a", "b", "c", "d"}
        monkeypatch.setattr("gitpulse_operator.control.LONGEST_ARRIVAL", 0.0)
        control.seen(held["c"])
        await waiting["e"]
        await asyncio.wait_for(control.admit(new["a"]), 5)  # in place of `e`, of which nothing more was heard


async def test_no_proxy_is_looked_for_at_each_request_unless_there_is_one(tmp_path, monkeypatch):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}"
    )
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for proxy in ("", "http://127.0.0.1:2"):
        if proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        cluster = await KubeCluster.connect(str(kubeconfig))
        session = cluster.api.rest_client._create_pool_manager()
        assert session.trust_env == bool(proxy)
        await session.close()
        await cluster.close()
