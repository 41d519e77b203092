"""What can go wrong in the simulator; each message is one line that says what to do."""

from __future__ import annotations

from typing import ClassVar


class SimulatorError(Exception):
    """The base of all errors that the simulator raises on purpose."""

    reason: ClassVar[str] = "Error"


class CannotListen(SimulatorError):
    """The address is taken, or not ours."""

    reason = "CannotListen"


class GitFailed(SimulatorError):
    """The git program is missing, or refused what it was told."""

    reason = "GitFailed"


class BadRequest(SimulatorError):
    """Somebody asked the simulator for something that it cannot do: an unknown branch, a setting that is none."""

    reason = "BadRequest"
