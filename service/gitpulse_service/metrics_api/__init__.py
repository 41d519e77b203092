"""The query API."""

from gitpulse_service.metrics_api.app import PREFIX, create_api
from gitpulse_service.metrics_api.caller import Parts
from gitpulse_service.metrics_api.live import Hub

__all__ = ["PREFIX", "Hub", "Parts", "create_api"]
