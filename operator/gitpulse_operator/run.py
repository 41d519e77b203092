"""`gitpulse operator`: what `kopf run -m gitpulse_operator.main --standalone` does, set up by our settings alone."""

from __future__ import annotations

import platform
from typing import Any, cast

import kopf

from gitpulse_operator.handlers import register
from gitpulse_operator.settings import OperatorSettings


def run(*, metrics_port: int | None = None) -> None:
    """Runs the operator until SIGINT or SIGTERM. Raises SettingsError, and OperatorError where it cannot run."""
    settings = OperatorSettings.load()
    if metrics_port is not None:
        settings = settings.model_copy(update={"metrics_port": metrics_port})
    registry = kopf.OperatorRegistry()
    register(registry, settings)
    kopf.configure()
    kopf.run(
        registry=registry,
        standalone=True,
        # Left to itself, kopf asks for the user's name, which a container's numeric user has not.
        identity=cast("Any", platform.node()),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
    )
