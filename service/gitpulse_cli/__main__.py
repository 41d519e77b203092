"""`python -m gitpulse_cli` is `gitpulse`."""

from gitpulse_cli.main import run

run()
