"""What can go wrong in the simulator; each message is one line that says what to do."""

from __future__ import annotations


class SimulatorError(Exception):
    """The base of all errors that the simulator raises on purpose."""


class CannotListen(SimulatorError):
    """The address is taken, or not ours."""


class GitFailed(SimulatorError):
    """The git program is missing, or refused what it was told."""


class BadRequest(SimulatorError):
    """Somebody asked the simulator for something that it cannot do: an unknown branch, a setting that is none."""
