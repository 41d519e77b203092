"""GitLab's REST API, as far as GitPulse and its users need it: one module a family of endpoints."""
