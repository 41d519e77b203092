"""The service's Prometheus metrics: names, help texts, labels, all in one place.

No label names a project or a hook: ten thousand of them would make ten thousand series. A team is named only where
somebody has said how many may be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from gitpulse_service.contract import build_info, tell_build
from gitpulse_service.errors import CannotServe


@contextlib.contextmanager
def exposed(component: str, port: int, host: str = "0.0.0.0") -> Iterator[None]:  # noqa: S104 -- Prometheus comes from elsewhere
    """Serves all metrics for Prometheus at `/metrics` on a port of their own. Raises CannotServe.

    `component`: what this process is, `receiver` or `worker`.
    """
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise CannotServe(f"metrics port {port}: {error.strerror or error}; choose another --metrics-port") from error
    tell_build(component)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


BUILD_INFO = build_info()

# --- receiver --------------------------------------------------------------------------------------------------------

WEBHOOK_REQUESTS = Counter(
    "gitlab_webhook_requests_total",
    "Deliveries answered, by outcome: accepted, duplicate, ignored, or error for every refused or failed one.",
    ["status", "reason"],
)
WEBHOOK_DURATION = Histogram(
    "gitlab_webhook_duration_seconds",
    "Time from a delivery's first byte read by the application to its answer.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WEBHOOK_BYTES = Counter(
    "gitlab_webhook_body_bytes_total", "Bytes of bodies read, those of refused deliveries included."
)
DOORBELL_FAILURES = Counter(
    "gitpulse_doorbell_failures_total", "Drain jobs that could not be enqueued; the worker's sweep makes up for them."
)
NOTE_FAILURES = Counter("gitpulse_note_failures_total", "Refusals that could not be noted for the operator.")
LIMIT_FAILURES = Counter(
    "gitpulse_limit_failures_total",
    "Times that counts for a limit could not be shared with other receivers; meanwhile each limits by its own.",
)
CONNECTIONS_CUT = Counter(
    "gitpulse_connections_cut_total",
    "Connections that the receiver closed on a client, by reason: slow_head, slow_body, head_too_large, pipelined (too"
    " many requests without waiting for an answer), or unread (answers).",
    ["reason"],
)
DIRECTORY_HOOKS = Gauge("gitpulse_directory_hooks", "Managed hooks that this receiver knows.")
DIRECTORY_READY = Gauge("gitpulse_directory_ready", "Whether the receiver has loaded the complete directory.")

LOG_REACHABLE = Gauge(
    "gitpulse_event_log_reachable",
    "Whether the receiver's last look at the event log, every few seconds, was answered. While it is not, the figures"
    " of the backlog and of the dead letters are those of the last look that was.",
)
BACKLOG_DELIVERIES = Gauge(
    "gitpulse_backlog_deliveries",
    "Deliveries that wait to be counted, by partition, those in a worker's hands included. Every receiver says the"
    " same of the backlog, whether a worker lives or not: take the max, not the sum.",
    ["partition"],
)
BACKLOG_OLDEST = Gauge(
    "gitpulse_backlog_oldest_seconds",
    "Age of the oldest delivery that waits, by partition; 0: none does.",
    ["partition"],
)
BACKLOG_BYTES = Gauge("gitpulse_backlog_bytes", "Bytes of all deliveries that wait, as they are stored.")
BACKLOG_FULL = Gauge(
    "gitpulse_backlog_full_ratio",
    "How full the backlog is, by the nearer one of `GITPULSE_MAX_BACKLOG` and `GITPULSE_MAX_BACKLOG_BYTES`; at 1"
    " receivers answer 503.",
)
DEAD_LETTERS = Gauge("gitpulse_dead_letters", "Dead letters kept: see `gitpulse deadletters`.")


# --- receiver and worker ---------------------------------------------------------------------------------------------

BURIED = Counter(
    "gitpulse_dead_letters_buried_total",
    "Deliveries that became dead letters, by reason: not_json, not_an_object, Undecodable, StoreRefused, Corrupt.",
    ["reason"],
)


# --- worker ----------------------------------------------------------------------------------------------------------

EVENTS = Counter(
    "gitpulse_events_total",
    "Deliveries that the workers are done with, by kind and by outcome: counted, uncounted (kept raw only), and"
    " undecodable or refused by the database (both in the dead letters).",
    ["kind", "outcome"],
)
BATCH_EVENTS = Histogram(
    "gitpulse_batch_events",
    "Deliveries written in one transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
)
COUNTED_AFTER = Histogram(
    "gitpulse_counted_after_seconds",
    "Time from a delivery's acceptance until its numbers can be asked for.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
DRAIN_FAILURES = Counter(
    "gitpulse_drain_failures_total",
    "Drains that stopped because log or database were away; they try again.",
    ["reason"],
)
BACKFILLS = Counter(
    "gitpulse_backfills_total",
    "Backfills from GitLab's REST API, those of new hooks, of gaps, by command and of checks, by how they ended: done"
    " or failed.",
    ["result"],
)
COMPLETION = Counter(
    "gitpulse_completion_total",
    "Questions to GitLab about what deliveries do not tell, by kind and outcome: done, gone (GitLab has no such thing,"
    " or does not show it to us), failed (no answer for a week) or refused (by the database).",
    ["kind", "outcome"],
)
COMPLETION_BACKLOG = Gauge(
    "gitpulse_completion_backlog",
    "Questions that wait, by kind. Every worker says the same: take the max, not the sum.",
    ["kind"],
)
CHECK_ROWS = Counter(
    "gitpulse_check_rows_total",
    "Rows that the nightly check has compared with GitLab, by kind and by outcome: same, or different (and repaired).",
    ["kind", "outcome"],
)
CHECK_ERROR = Gauge(
    "gitpulse_check_error_ratio", "Of all rows that this worker's checks have compared, the share that was different."
)
_checked = {"different": 0, "same": 0}


def checked(kind: str, different: int, same: int) -> None:
    """So many rows of a kind were compared with GitLab."""
    for outcome, rows in (("different", different), ("same", same)):
        CHECK_ROWS.labels(kind, outcome).inc(rows)
        _checked[outcome] += rows
    if rows := sum(_checked.values()):
        CHECK_ERROR.set(_checked["different"] / rows)


_OF_TEAMS = "in the last seven days, where `GITPULSE_TEAM_SERIES` allows it. Every worker says the same: take the max."
TEAM_COUNT = Gauge("gitpulse_team_count", f"How many of a metric a team's members did {_OF_TEAMS}", ["team", "metric"])
TEAM_MEDIAN = Gauge(
    "gitpulse_team_median_seconds", f"Median of a metric over what a team's members did {_OF_TEAMS}", ["team", "metric"]
)
TEAM_SERIES_LEFT_OUT = Gauge(
    "gitpulse_team_series_left_out", "Series of teams that are not exported, because `GITPULSE_TEAM_SERIES` are."
)
