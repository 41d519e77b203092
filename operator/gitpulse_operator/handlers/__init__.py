"""kopf's decorators and nothing else: unpack, call `Control`, and say in kopf's words how it went.

There are no handlers for creation and change: a watch event puts the resource on the agenda, which also holds resyncs,
retries and wakes. kopf watches, and holds a project back by our finalizer until its clean-up is done.
"""

from __future__ import annotations

import kopf

from gitpulse_operator.handlers import lifecycle, resources
from gitpulse_operator.handlers.lifecycle import Operator
from gitpulse_operator.settings import OperatorSettings


def register(registry: kopf.OperatorRegistry, settings: OperatorSettings) -> None:
    """Adds all handlers of an operator with these settings to a registry."""
    operator = Operator(settings)
    lifecycle.register(registry, operator)
    resources.register(registry, operator)
