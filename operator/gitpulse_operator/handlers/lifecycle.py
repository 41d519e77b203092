"""How kopf is set up, and what starts and stops with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import kopf
from aiohttp import web

from gitpulse_operator.adapters.kube import KubeCluster, has_kubeconfig
from gitpulse_operator.adapters.lease import Lease
from gitpulse_operator.control import Control
from gitpulse_operator.errors import OperatorError, PortTaken
from gitpulse_operator.metrics import serve_metrics
from gitpulse_operator.names import FINALIZER, GROUP, PART_OF, PLURALS, PROJECT, VERSION
from gitpulse_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

START_RETRIES = (1.0, 2.0)
"""Seconds between tries to start while Redis or Kubernetes does not answer."""
WATCH_SILENCE = 70.0
"""Seconds without a word after which a watch is taken for dead: the API server has something to say each minute."""
API_RETRIES = (1.0, 1.0, 2.0, 3.0, 5.0, *(10.0,) * 60)
"""Seconds between tries of one request to Kubernetes while that does not serve it, ten minutes in all.

After the last, kopf ends the operator. By kopf's own count that is so within a minute, and a pause may last 21 s.
"""


class Operator:
    """What lives from kopf's start to its end."""

    def __init__(self, settings: OperatorSettings) -> None:
        self.settings = settings
        self._running = contextlib.AsyncExitStack()
        self._control: Control | None = None

    @property
    def control(self) -> Control:
        """There is none before the start, when no watch runs either."""
        assert self._control is not None
        return self._control

    async def start(self) -> None:
        """Raises OperatorError when Redis or Kubernetes is not there, even after a while."""
        for wait in (*START_RETRIES, None):
            try:
                await self._start()
            except OperatorError as error:
                if wait is None or not error.retryable:
                    raise
                logger.warning("%s (again in %.0f s)", error, wait)
                await asyncio.sleep(wait)
            else:
                return

    async def _start(self) -> None:
        async with contextlib.AsyncExitStack() as parts:
            parts.enter_context(serve_metrics(self.settings.metrics_port))
            if port := self.settings.liveness_port:
                parts.push_async_callback((await _answer_probes(port)).cleanup)
            cluster = await KubeCluster.connect(
                namespaces=self.settings.namespaces, selector=self.settings.shard_selector
            )
            parts.push_async_callback(cluster.close)
            if self.settings.lease:
                lease = Lease(cluster, self.settings.lease)
                await lease.acquire()
                parts.push_async_callback(lease.release)
                keeping = asyncio.create_task(lease.keep())
                parts.callback(keeping.cancel)
            self._control = await parts.enter_async_context(Control.started(self.settings, cluster))
            self._running = parts.pop_all()

    async def stop(self) -> None:
        await self._running.aclose()


async def _answer_probes(port: int) -> web.AppRunner:
    """Answers until its `cleanup`. kopf's own server begins when the start is over: too late for who stands by."""

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/healthz", alive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - the kubelet asks from outside of the pod
    except OSError as error:
        await runner.cleanup()
        why = f"cannot answer probes on port {port} ({error.strerror})"
        raise PortTaken(f"{why}; set GITPULSE_LIVENESS_PORT to a free one, or to 0") from None
    return runner


class RemembersNothing(kopf.DiffBaseStorage):
    """No copy of each spec in an annotation: the agenda compares with GitLab, not with what was handled last."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:  # noqa: ARG002
        return kopf.BodyEssence({})  # else a deep copy for each event

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - kopf's signature
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


def configure(settings: kopf.OperatorSettings, ours: OperatorSettings) -> None:
    """kopf as we want it. What is stored under our domain never changes: a new prefix would forget what was begun."""
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = RemembersNothing()
    if not (log := logging.getLogger("kopf.objects")).isEnabledFor(logging.DEBUG):
        log.setLevel(logging.WARNING)  # else a line for each event that was seen
    settings.posting.enabled = False  # transitions are told by the runs themselves, and nothing else
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = API_RETRIES
    settings.watching.server_timeout = 600
    settings.watching.inactivity_timeout = WATCH_SILENCE
    settings.watching.chunk_size = 500
    settings.watching.label_selectors["v1", "secrets"] = "=".join(PART_OF)
    if ours.shard_selector:
        settings.watching.label_selectors[GROUP, VERSION, PLURALS[PROJECT]] = ours.shard_selector
    settings.scanning.disabled = bool(ours.namespaces)  # saves the right to watch namespaces and CRDs


def register(registry: kopf.OperatorRegistry, operator: Operator) -> None:
    """Start, login, stop."""

    @kopf.on.startup(registry=registry, id="start")
    async def start(settings: kopf.OperatorSettings, **_: object) -> None:
        configure(settings, operator.settings)
        try:
            await operator.start()
        except OperatorError as error:
            logger.critical("the operator cannot start: %s", error)
            await asyncio.sleep(0.1)  # lets kopf's own tasks begin: one that never did complains when it is ended
            raise SystemExit(1) from None  # an exception of kopf's would end in a page of traceback

    @kopf.on.login(registry=registry, id="login")
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - handed through to kopf
        if has_kubeconfig():
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs)

    @kopf.on.cleanup(registry=registry, id="stop")
    async def stop(**_: object) -> None:
        await operator.stop()
