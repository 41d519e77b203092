"""The metrics that the code exports, as Prometheus has them."""

from __future__ import annotations

import re

from prometheus_client.metrics import MetricWrapperBase

import gitpulse_operator.metrics
import gitpulse_service.metrics

METRIC = re.compile(r"\b(?:gitpulse|gitlab_webhook)_\w+")
"""A series of ours in an expression."""
_SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}


def metrics() -> list[MetricWrapperBase]:
    """Those of the code, each once."""
    modules = (gitpulse_service.metrics, gitpulse_operator.metrics)
    found = [it for module in modules for it in vars(module).values() if isinstance(it, MetricWrapperBase)]
    return list({it._name: it for it in found}.values())


def series(metric: MetricWrapperBase) -> dict[str, set[str]]:
    """The series of one, with their labels."""
    family = next(iter(metric.describe()))
    labels = set(metric._labelnames)
    return {family.name + it: labels | ({"le"} if it == "_bucket" else set()) for it in _SUFFIXES[family.type]}


KNOWN = {name: labels for metric in metrics() for name, labels in series(metric).items()}
"""All series, with their labels."""
