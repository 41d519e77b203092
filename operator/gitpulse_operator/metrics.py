"""The operator's Prometheus metrics, named as controller-runtime names its own. No label holds a resource's
name, but for connections, which are few."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from gitpulse_operator.errors import PortTaken
from gitpulse_service.contract import build_info, tell_build

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
SECRET_DUE = Gauge(
    "gitpulse_secret_rotation_due_timestamp_seconds",
    "When the next secret is to be replaced because of its age, or should have been (Unix time); 0: none is ever. Left"
    " out are those that were brought, never rotated (`0s`), suspended or only observed.",
)
RESOURCES = Gauge(
    "gitpulse_resources",
    "Resources by kind and by what their conditions say: ready, reconciling (not ready, which may pass by itself),"
    " stalled (waits for a person), other (suspended, or only observed).",
    ["kind", "state"],
)
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
TOKEN_EXPIRES = Gauge(
    "gitpulse_gitlab_token_expires_timestamp_seconds",
    "When a connection's GitLab token expires (Unix time), where it ever does and GitLab tells; `connection`:"
    " namespace/name.",
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
    "Hooks by state. As in `status.hooks`: desired, installed, delivering, disabled, failing. Of those disabled,"
    " disabled_for_good: GitLab never tries them again. By the reason of `Delivering`: refused (401), unreachable. One"
    " may be in several.",
    ["state"],
)
HOOKS_CORRECTED = Counter(
    "gitpulse_hooks_corrected_total",
    "Times that a hook which somebody else had changed, deleted or doubled was put right; `again`: yes if the same one"
    " had been within a day, else no.",
    ["again"],
)
for _again in ("no", "yes"):
    HOOKS_CORRECTED.labels(_again)  # so that the first one is an increase


@contextlib.contextmanager
def serve_metrics(port: int, host: str = "0.0.0.0") -> Iterator[None]:  # noqa: S104 - Prometheus comes from elsewhere
    """Lets Prometheus read on this port until the block ends; 0: not at all. Raises PortTaken."""
    tell_build("operator")
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, host)
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
