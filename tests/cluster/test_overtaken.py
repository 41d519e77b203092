"""An edit that comes while a run is under way, at the worst moment."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gitpulse_operator.adapters.kube import KubeCluster
from gitpulse_operator.control import Control
from gitpulse_operator.names import FINALIZER, PROJECT
from gitpulse_operator.reconcile.resource import Ref
from gitpulse_operator.settings import OperatorSettings
from gitpulse_sim.faults import Fault
from harness.processes import wait_until

pytestmark = pytest.mark.cluster

WEBSITE = "gitpulseproject/website"


async def test_what_leaves_during_a_run_is_forgotten_by_it(place, operator):
    """Deleted, or another shard's by now: the run writes its status and must not go on from what that answers."""
    settings = OperatorSettings(
        redis_url=operator.redis_url,
        installation_key=bytes(32),
        public_url="https://gitpulse.example.com",
        watch_namespaces=place.namespace,
    )
    ref = Ref(PROJECT, place.namespace, "website")
    cluster = await KubeCluster.connect(str(operator.kubeconfig), namespaces=[place.namespace])
    slow = Fault(path="*/hooks", method="POST", delay=0.5)
    try:
        async with Control.started(settings, cluster) as control:
            place.apply_examples()
            place.patch(WEBSITE, {"metadata": {"finalizers": [FINALIZER]}})
            body = await cluster.read(ref)
            assert body
            place.simulator.world.faults.append(slow)
            control.seen(body)
            await asyncio.to_thread(partial(wait_until, lambda: slow.matched, what="the run to be under way"))
            control.gone(body)
            await asyncio.to_thread(place.wait, WEBSITE)  # it comes to its end
            async with control._agenda.exclusive(ref):
                pass
            assert control._inventory.get(ref) is None
            assert ref not in control._agenda._due
    finally:
        place.simulator.world.faults.remove(slow)
        await cluster.close()


async def test_an_edit_is_followed_though_a_status_write_told_of_it_first(place, operator):
    """A run's status write is answered with the edited resource; only then does the watch show the edit."""
    settings = OperatorSettings(
        redis_url=operator.redis_url,
        installation_key=bytes(32),
        public_url="https://gitpulse.example.com",
        watch_namespaces=place.namespace,
    )
    ref = Ref(PROJECT, place.namespace, "website")
    cluster = await KubeCluster.connect(str(operator.kubeconfig), namespaces=[place.namespace])
    try:
        async with Control.started(settings, cluster) as control:
            place.apply_examples()
            place.patch(WEBSITE, {"metadata": {"finalizers": [FINALIZER]}})
            before = await cluster.read(ref)
            place.patch(WEBSITE, {"spec": {"events": ["TagPush"]}})
            after = await cluster.read(ref)
            assert before
            assert after

            control.seen(before)
            told = partial(wait_until, lambda: place.condition(WEBSITE, "HookInstalled").get("observedGeneration") == 1)
            await asyncio.to_thread(told, what="the status of the older spec")
            (hook,) = place.hooks("website")
            assert "merge_requests_events" in hook.events
            control.seen(after)
            followed = partial(wait_until, lambda: hook.events == {"tag_push_events"}, what="the edit to be followed")
            await asyncio.to_thread(followed)
    finally:
        await cluster.close()
        place.patch(WEBSITE, {"metadata": {"finalizers": None}})
