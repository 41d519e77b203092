"""The pages that people look at."""

from gitpulse_service.dashboard.app import create_dashboard

__all__ = ["create_dashboard"]
