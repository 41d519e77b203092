"""The query API."""

from gitpulse_service.metrics_api.router import create_router

__all__ = ["create_router"]
