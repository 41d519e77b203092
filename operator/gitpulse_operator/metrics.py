"""The operator's Prometheus metrics, named as controller-runtime names its own. No label holds a resource's
name, but for connections, which are few."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from gitpulse_operator.errors import PortTaken
from gitpulse_service.contract import build_info

BUILD_INFO = build_info()
RECONCILE_TOTAL = Counter(
    "gitpulse_reconcile_total", "Reconciliations, by how they ended: success, error or stalled.", ["kind", "result"]
)
RECONCILE_ERRORS = Counter(
    "gitpulse_reconcile_errors_total", "Reconciliations that failed, by reason.", ["kind", "reason"]
)
RECONCILE_TIME = Histogram("gitpulse_reconcile_time_seconds", "Time that a reconciliation takes.", ["kind"])
QUEUE_DEPTH = Gauge("gitpulse_workqueue_depth", "Resources that are due and wait for a worker.")
QUEUE_ADDS = Counter("gitpulse_workqueue_adds_total", "Resources put on the queue, to be worked on now or later.")
QUEUE_RETRIES = Counter("gitpulse_workqueue_retries_total", "Resources put on it again because a run has failed.")
QUEUE_TIME = Histogram("gitpulse_workqueue_queue_duration_seconds", "Time from when it is due to when work begins.")
WORK_TIME = Histogram("gitpulse_workqueue_work_duration_seconds", "Time of the work, with the writing of the status.")
STATUS_WRITES = Counter("gitpulse_status_writes_total", "Statuses that had changed and were written.", ["kind"])
ROTATIONS = Counter(
    "gitpulse_rotations_total", "Rotations of a hook's secret, by what became of them: begun, completed.", ["result"]
)
ROTATING = Gauge("gitpulse_rotations_under_way", "Rotations that have begun and not ended.")
ROTATIONS_STUCK = Gauge("gitpulse_rotations_stuck", "Rotations that have stayed in one phase for too long.")
GITLAB_REQUESTS = Counter(
    "gitpulse_gitlab_requests_total",
    "Answers from GitLab, by method and status; `error` where none came.",
    ["method", "status"],
)
BUDGET_LEFT = Gauge(
    "gitpulse_gitlab_budget_left",
    "Share of a connection's requests (a second's worth, 1) that could be sent at once; `connection`: namespace/name.",
    ["connection"],
)

REVIVALS = Counter(
    "gitpulse_revivals_total",
    "Hooks that GitLab had switched off, by what became of them: revived (by a test), failed (the test), recreated.",
    ["result"],
)
REPAIRED = Counter(
    "gitpulse_repaired_events_total",
    "Deliveries that had failed, by what became of them: resent, or lost where GitLab could not send them again.",
    ["result"],
)
HOOKS_LEFT_BEHIND = Counter(
    "gitpulse_hooks_left_behind_total", "Times that a hook was let go while it may still be in GitLab."
)
HOOKS = Gauge(
    "gitpulse_hooks",
    "Hooks by state, as in `status.hooks`: desired, installed, delivering, disabled, failing. One may be in several.",
    ["state"],
)


@contextlib.contextmanager
def serve_metrics(port: int) -> Iterator[None]:
    """Lets Prometheus read on this port until the block ends; 0: not at all. Raises PortTaken."""
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port)
    except OSError as error:
        raise PortTaken(
            f"cannot serve metrics on port {port} ({error.strerror}); set GITPULSE_METRICS_PORT to a free one, or to 0"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
